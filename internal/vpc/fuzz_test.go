package vpc

import (
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/internal/apierr"
)

// FuzzBlocks holds that a block is read in one family only, becomes canonical, and is read again as itself.
func FuzzBlocks(f *testing.F) {
	for _, seed := range []string{
		"0.0.0.0/0", "::/0", "10.1.2.3/8", "2001:DB8::1/64", "10.0.0.0", "10.0.0.0/33", "::ffff:1.2.3.4/120", "fe80::1%eth0/64", "1.2.3.4/032", "", "/", "::/129",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p4, err4 := ParseCIDR(s)
		p6, err6 := ParseCIDR6(s)
		if err4 == nil && err6 == nil {
			t.Fatalf("%q is of both families", s)
		}
		for _, read := range []struct {
			p     netip.Prefix
			err   error
			again func(string) (netip.Prefix, error)
		}{{p4, err4, ParseCIDR}, {p6, err6, ParseCIDR6}} {
			if read.err != nil {
				if !apierr.HasCode(read.err, apierr.CodeInvalidParameterValue) || read.p.IsValid() {
					t.Errorf("%q: %v, %v", s, read.p, read.err)
				}
				continue
			}
			again, err := read.again(read.p.String())
			if read.p != read.p.Masked() || err != nil || again != read.p {
				t.Errorf("%q is %s, which is read as %s, %v", s, read.p, again, err)
			}
		}
	})
}

// FuzzServices holds that a protocol with its ports is read as EC2 tells it again, or refused in EC2's words.
func FuzzServices(f *testing.F) {
	f.Add("tcp", int32(0), int32(65535))
	f.Add("TCP", int32(443), int32(80))
	f.Add("icmp", int32(-1), int32(-1))
	f.Add("icmp", int32(8), int32(255))
	f.Add("58", int32(128), int32(0))
	f.Add("-1", int32(1<<31-1), int32(-1<<31))
	f.Add("all", int32(0), int32(0))
	f.Add("256", int32(0), int32(0))
	f.Add("47", int32(7), int32(7))
	f.Fuzz(func(t *testing.T, protocol string, from, to int32) {
		s, err := NewService(&protocol, &from, &to)
		if err != nil {
			if !apierr.HasCode(err, apierr.CodeInvalidParameterValue) {
				t.Errorf("%q %d %d: %v", protocol, from, to, err)
			}
			return
		}
		name := s.Proto.String()
		f, u, _ := PortsOf(s)
		again, err := NewService(&name, &f, &u)
		if err != nil || again != s {
			t.Errorf("%q %d %d is %+v, told as %s %d %d, which is %+v, %v", protocol, from, to, s, name, f, u, again, err)
		}
	})
}
