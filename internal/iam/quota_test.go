package iam_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/vpc"
)

const owner vpc.AccountID = "000000000001"

func TestChangeQuotas(t *testing.T) {
	type change = iam.QuotaChange
	for _, test := range []struct {
		name    string
		changes []change
		want    vpc.QuotaSetting
		refused apierr.Code // of the last change
	}{
		{name: "nothing", changes: []change{{}}},
		{
			name:    "what is not named stays",
			changes: []change{{Set: map[string]int{"vpcs-per-region": 9}}, {Set: map[string]int{"groups-per-vpc": 7}}},
			want:    vpc.QuotaSetting{Overrides: map[string]int{"vpcs-per-region": 9, "groups-per-vpc": 7}},
		},
		{
			name:    "an override outlives a change of profile",
			changes: []change{{Set: map[string]int{"vpcs-per-region": 9}}, {Profile: vpc.ProfileToday}},
			want:    vpc.QuotaSetting{Profile: vpc.ProfileToday, Overrides: map[string]int{"vpcs-per-region": 9}},
		},
		{
			name: "one is reset",
			changes: []change{
				{Set: map[string]int{"vpcs-per-region": 9, "groups-per-vpc": 7}}, {Reset: []string{"vpcs-per-region", "tags-per-resource"}},
			},
			want: vpc.QuotaSetting{Overrides: map[string]int{"groups-per-vpc": 7}},
		},
		{
			name:    "all are reset, the profile stays",
			changes: []change{{Profile: vpc.ProfileToday, Set: map[string]int{"vpcs-per-region": 9}}, {ResetAll: true}},
			want:    vpc.QuotaSetting{Profile: vpc.ProfileToday},
		},
		{
			name:    "what is too much together is refused whole",
			changes: []change{{Set: map[string]int{"rules-per-group": 200}}, {Set: map[string]int{"vpcs-per-region": 9, "groups-per-interface": 6}}},
			want:    vpc.QuotaSetting{Overrides: map[string]int{"rules-per-group": 200}},
			refused: apierr.CodeInvalidParameterValue,
		},
		{
			name:    "a reset can be too much too",
			changes: []change{{Set: map[string]int{"rules-per-group": 500, "groups-per-interface": 2}}, {Reset: []string{"groups-per-interface"}}},
			want:    vpc.QuotaSetting{Overrides: map[string]int{"rules-per-group": 500, "groups-per-interface": 2}},
			refused: apierr.CodeInvalidParameterValue,
		},
		{name: "no such quota", changes: []change{{Set: map[string]int{"shoes": 2}}}, refused: apierr.CodeInvalidParameterValue},
		{name: "no such quota to reset", changes: []change{{Reset: []string{"shoes"}}}, refused: apierr.CodeInvalidParameterValue},
		{name: "no such profile", changes: []change{{Profile: "mine"}}, refused: apierr.CodeInvalidParameterValue},
	} {
		t.Run(test.name, func(t *testing.T) {
			tx := with(t, owner)
			var err error
			for _, c := range test.changes {
				if err != nil {
					t.Fatal(err)
				}
				_, err = iam.ChangeQuotas(tx, owner, c)
			}
			if test.refused != "" {
				refused(t, err, test.refused)
			} else if err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(test.want, tx.Account(owner).Quotas); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestQuotasOfNoAccount(t *testing.T) {
	tx := with(t)
	_, err := iam.ChangeQuotas(tx, owner, iam.QuotaChange{Profile: vpc.ProfileToday})
	refused(t, err, apierr.CodeInvalidParameterValue)
}

// TestAQuotaThatIsSetToWhatItIs changes nothing, so that no event tells of a change.
func TestAQuotaThatIsSetToWhatItIs(t *testing.T) {
	tx := with(t, owner).Next(1).Begin()
	if _, err := iam.ChangeQuotas(tx, owner, iam.QuotaChange{Profile: vpc.ProfileGuide, Reset: []string{"vpcs-per-region"}}); err != nil {
		t.Error(err)
	}
	if n := len(tx.Changes()); n != 0 {
		t.Errorf("%d changes", n)
	}
}
