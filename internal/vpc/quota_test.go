package vpc_test

import (
	"reflect"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
	"sallyport.dev/sallyport/internal/vpc"
)

// TestEveryQuotaHasARow sets each field of Quotas by the name of its row, and no other field.
func TestEveryQuotaHasARow(t *testing.T) {
	guide := reflect.ValueOf(vpc.GuideQuotas())
	set := map[string]string{} // field → the quota that sets it
	for _, q := range vpc.EveryQuota() {
		other := q.Of(vpc.GuideQuotas()) + 1
		got := reflect.ValueOf(vpc.QuotaSetting{Overrides: map[string]int{q.Name: other}}.Quotas())
		for i := range got.NumField() {
			field := got.Type().Field(i).Name
			if got.Field(i).Int() == guide.Field(i).Int() {
				continue
			}
			if set[field] != "" {
				t.Errorf("%s and %s both set %s", set[field], q.Name, field)
			}
			set[field] = q.Name
		}
		if named, ok := vpc.QuotaNamed(q.Name); !ok || named.Max != q.Max {
			t.Errorf("%s is not found by its name", q.Name)
		}
	}
	if len(set) != guide.NumField() || len(set) != len(vpc.EveryQuota()) {
		t.Errorf("%d of %d fields are set by %d rows: %v", len(set), guide.NumField(), len(vpc.EveryQuota()), set)
	}
}

func TestProfiles(t *testing.T) {
	guide, today := vpc.ProfileGuide.Quotas(), vpc.ProfileToday.Quotas()
	for _, test := range []struct {
		name                 string
		guide, today         int
		wantGuide, wantToday int
	}{
		{"groups a VPC", guide.GroupsPerVPC, today.GroupsPerVPC, 500, 10_000}, // G7
		{"groups a region", guide.Groups, today.Groups, 10_000, 2500},
		{"rules a group", guide.RulesPerGroup, today.RulesPerGroup, 50, 60},                      // G8
		{"groups an interface", guide.GroupsPerInterface, today.GroupsPerInterface, 5, 5},        // G9
		{"EC2-Classic: groups a region", guide.ClassicGroups, today.ClassicGroups, 500, 500},     // G70
		{"EC2-Classic: rules", guide.ClassicRulesPerGroup, today.ClassicRulesPerGroup, 100, 100}, // G72
	} {
		if test.guide != test.wantGuide || test.today != test.wantToday {
			t.Errorf("%s: %d and %d, want %d and %d", test.name, test.guide, test.today, test.wantGuide, test.wantToday)
		}
	}
	for _, p := range vpc.QuotaProfiles() {
		if err := (vpc.QuotaSetting{Profile: p}).Check(); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestQuotasHaveBounds(t *testing.T) {
	for _, q := range vpc.EveryQuota() {
		for n, ok := range map[int]bool{-1: false, 0: false, 1: true, q.Max: true, q.Max + 1: false} {
			set := map[string]int{"groups-per-interface": 1}
			set[q.Name] = n
			if q.Name == "groups-per-interface" {
				set["rules-per-group"] = 1
			}
			err := vpc.QuotaSetting{Overrides: set}.Check()
			if (err == nil) != ok || err != nil && !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
				t.Errorf("%s = %d: %v", q.Name, n, err)
			}
		}
	}
	for _, test := range []struct {
		name          string
		rules, groups int
		ok            bool
	}{
		{"AWS's product", 200, 5, true},
		{"one more", 201, 5, false},
		{"many groups", 62, 16, true},
		{"too many", 63, 16, false},
	} {
		err := vpc.QuotaSetting{Overrides: map[string]int{"rules-per-group": test.rules, "groups-per-interface": test.groups}}.Check()
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
