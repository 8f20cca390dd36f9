package app_test

import (
	"bytes"
	"testing"
	"time"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmwire"
	"xenvtpm/vtpmmgr-stub/proto"
)

// certificate is what the tests' manager gives for an ECC key: something with the
// point in it.
func certificate(body []byte) []byte {
	public, revision, err := proto.ParseCertifyKey(body)
	if err != nil || len(public) < 68 || revision != 183 {
		panic("CERTIFY_KEY: no ECC key")
	}
	n := len(public) - 68 // two sized coordinates of 32 bytes
	point := append([]byte{4}, public[n+2:n+34]...)
	der := append([]byte("certificate of "), append(point, public[n+36:]...)...)
	return proto.Certificates{EK: der, CA: []byte("issuer")}.Append(nil)
}

const ekIndex = uint32(0x01C0000A)

// nvSize is the size of an index, 0 when it is not there.
func (x *host) nvSize(index uint32) int {
	h, body := x.send(packet(tpmwire.TagNoSessions, 0x169, index))
	if h.Code != 0 {
		return 0
	}
	return int(body[14])<<8 | int(body[15]) // size, index, hash, attributes, policy size 0, size
}

// A guest finds a certificate without having done anything; the manager is
// asked once in the TPM's life.
func TestEKCertificate(t *testing.T) {
	d := newDurable()
	d.certify = true
	for range 2 {
		x := boot(t, d, "")
		if n := x.nvSize(ekIndex); n != len("certificate of ")+65 {
			t.Fatalf("the index has %d bytes", n)
		}
		h, body := x.send(packet(tpmwire.TagSessions, 0x14E, ekIndex, ekIndex, password, uint16(15), uint16(0)))
		if h.Code != 0 || !bytes.Contains(body, []byte("certificate of ")) {
			t.Fatalf("NV_Read: %#x %q", h.Code, body)
		}
		x.off()
		d.disk = d.disk.PowerCut(func(i int) bool { return i%2 == 0 })
	}
	if d.certified != 1 {
		t.Errorf("the manager was asked %d times", d.certified)
	}
}

// A manager that does not know the request costs one line.
func TestEKCertificateStockManager(t *testing.T) {
	d := newDurable()
	x := boot(t, d, "")
	if n := x.nvSize(ekIndex); n != 0 {
		t.Errorf("an index of %d bytes", n)
	}
	x.send(nvDefine(index))
	x.h.Sleep(2 * time.Hour)
	x.send(nvRead(index))
	if x.log.count("does not certify") != 1 || d.certified != 1 {
		t.Errorf("%d lines, %d requests", x.log.count("does not certify"), d.certified)
	}
}

func TestEKCertificateOff(t *testing.T) {
	d := newDurable()
	d.certify = true
	x := boot(t, d, "ekcert=none")
	if n := x.nvSize(ekIndex); n != 0 || d.certified != 0 {
		t.Errorf("an index of %d bytes, %d requests", n, d.certified)
	}
}

// next gives the vTPM to a domain, after taking it from the one before.
func (x *host) next(id abi.DomID, old *xentest.Domain) *xentest.Domain {
	x.t.Helper()
	if old != nil {
		if err := x.ts.Destroy(old); err != nil {
			x.t.Fatal(err)
		}
	}
	g := x.h.NewDomain(id)
	dev, err := x.ts.AddVTPM(id, vtpmDom, 0, guestUUID)
	if err != nil {
		x.t.Fatal(err)
	}
	x.fe = &drivertest.LinuxFront{Dom: g, Dev: dev}
	if err := x.fe.Probe(); err != nil {
		x.t.Fatal(err)
	}
	if err := x.fe.Connect(5 * time.Second); err != nil {
		x.t.Fatal(err)
	}
	return g
}

// hwinitpcr copies hardware PCRs at the start and again for each new guest.
func TestHWInitPCR(t *testing.T) {
	x := boot(t, newDurable(), "hwinitpcr=8-10,16")
	read := func(n uint32) []byte {
		h, v := x.send(packet(tpmwire.TagRquCommand, 21, n))
		if h.Code != 0 {
			t.Fatalf("PCRRead %d: %d", n, h.Code)
		}
		return v
	}
	check := func(when string) {
		for n := range uint32(17) {
			want := make([]byte, 20)
			if n >= 8 && n <= 10 || n == 16 {
				want = bytes.Repeat([]byte{byte(n)}, 20)
			}
			if got := read(n); !bytes.Equal(got, want) {
				t.Errorf("%s: PCR %d is %x", when, n, got)
			}
		}
	}
	check("start")
	if h, _ := x.send(packet(tpmwire.TagRquCommand, 20, uint32(8), bytes.Repeat([]byte{7}, 20))); h.Code != 0 {
		t.Fatalf("Extend: %d", h.Code)
	}
	if _, err := x.fe.Shutdown(); err != nil {
		t.Fatal(err)
	}
	x.next(guestDom+1, x.h.Domain(guestDom))
	check("next guest")
}
