package group

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// manyGroups is a world of groups with ten rules each, and a caller in it.
func manyGroups(tb testing.TB, n int) (*state.Snapshot, call.Call) {
	tb.Helper()
	c := call.Call{
		Scope: vpc.Scope{Region: "us-east-1", Account: "000000000001"}, Action: "DescribeSecurityGroups",
		IDs: call.NewIDs([32]byte{}), Now: time.Unix(0, 0),
	}
	tx := state.NewSnapshot().Begin()
	v := &vpc.VPC{ID: "vpc-1", Scope: c.Scope, Default: true}
	tx.Put(v)
	for i := range n {
		g := newGroup(tx, c, v, "g"+strconv.Itoa(i), "many", nil)
		var in []ec2.IpPermission
		for p := range int32(9) {
			in = append(in, ec2.IpPermission{
				IpProtocol: new("tcp"), FromPort: new(p), ToPort: new(p),
				IpRanges: []ec2.IpRange{{CidrIp: new("10.0.0.0/8"), Description: new("office")}},
			})
		}
		if _, err := authorize(tx, c, g, 0, in, nil); err != nil {
			tb.Fatal(err)
		}
	}
	return tx.Next(1), c
}

func operation(name string) call.Operation {
	all := Operations()
	return all[slices.IndexFunc(all, func(o call.Operation) bool { return o.Name == name })]
}

func BenchmarkDescribeSecurityGroups(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(n)+"x10", func(b *testing.B) {
			w, c := manyGroups(b, n)
			op := operation("DescribeSecurityGroups")
			a, _ := ec2.Lookup("DescribeSecurityGroups")
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				res, err := op.Run(w.Begin(), c, &ec2.DescribeSecurityGroupsRequest{})
				if err != nil {
					b.Fatal(err)
				}
				out = ec2.AppendResponse(out[:0], a, ec2.VersionCurrent, "r", res)
			}
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	w, c := manyGroups(b, 1000)
	var id string
	for g := range w.GroupsIn(c.Scope) {
		id = string(g.ID)
	}
	op := operation("AuthorizeSecurityGroupIngress")
	req := &ec2.AuthorizeSecurityGroupIngressRequest{
		GroupId: &id, IpProtocol: new("tcp"), FromPort: new(int32(99)), ToPort: new(int32(99)), CidrIp: new("10.0.0.0/8"),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := op.Run(w.Begin(), c, req); err != nil {
			b.Fatal(err)
		}
	}
}
