package app

import (
	"errors"
	"testing"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/vtpmmgr-stub/proto"
)

// The administrator is who the toolstack says, whatever number his domain has now;
// another domain with the number that he had is not.
func TestAdminIsAUUID(t *testing.T) {
	const admin, other = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"
	l := newHost(t)
	l.opts = "admin=" + admin
	l.bootWithTPM()
	var was abi.DomID
	ask := func(uuid string, want error) {
		t.Helper()
		l.vtpm(uuid, func(d *xentest.Domain, c *proto.Client) {
			was = d.ID
			if err := c.Admin(proto.OrdStatus, proto.Empty{}, &proto.Status{}); !errors.Is(err, want) {
				t.Errorf("domain %d with device %s: %v, want %v", d.ID, uuid, err, want)
			}
		})
	}
	ask(admin, nil)
	first := was
	ask(admin, nil) // rebooted
	if was == first {
		t.Fatal("the domain kept its number")
	}
	ask(other, proto.AuthFail)
	l.next = first
	ask(other, proto.AuthFail)
	if was != first {
		t.Fatalf("domain %d, want the number that the administrator had", was)
	}
}
