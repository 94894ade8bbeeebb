package instance

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/call"
	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/network"
	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// BenchmarkCreateNetworkInterface makes one interface beside many.
func BenchmarkCreateNetworkInterface(b *testing.B) {
	for _, beside := range []int{10, 4000} {
		b.Run(fmt.Sprint("beside=", beside), func(b *testing.B) {
			c := call.Call{Scope: vpc.Scope{Region: "us-east-1", Account: "000000000001"}, Version: ec2.VersionCurrent}
			seeded := func(n int) call.Call {
				c.IDs = call.NewIDs(sha256.Sum256(binary.AppendUvarint(nil, uint64(n))))
				return c
			}
			tx := state.NewSnapshot().Begin()
			if err := network.EnsureRegion(tx, seeded(0)); err != nil {
				b.Fatal(err)
			}
			var subnet string
			for s := range tx.SubnetsIn(c.Scope) {
				subnet = string(s.ID)
			}
			in := &ec2.CreateNetworkInterfaceRequest{SubnetId: &subnet}
			for n := range beside {
				if _, err := createNetworkInterface(tx, seeded(n+1), in); err != nil {
					b.Fatal(err)
				}
			}
			world, n := tx.Next(1), beside
			for b.Loop() {
				n++
				if _, err := createNetworkInterface(world.Begin(), seeded(n), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
