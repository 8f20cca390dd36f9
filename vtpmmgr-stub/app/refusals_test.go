package app

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/drivertest"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// awake starts the TPM, as firmware does, for what a test does to it by itself.
func (l *host) awake() {
	l.t.Helper()
	if _, err := hwtpm.Open(l.tpm, hwtpm.Config{}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *host) done(_ any, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func empty(h tpm2.TPMHandle) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: h, Auth: tpm2.PasswordAuth(nil)}
}

func (l *host) ownedByOthers() {
	l.awake()
	l.done(tpm2.HierarchyChangeAuth{AuthHandle: empty(tpm2.TPMRHOwner), NewAuth: tpm2.TPM2BAuth{Buffer: []byte("theirs")}}.Execute(l.tpm))
}

func (l *host) clear() {
	l.awake()
	l.done(tpm2.Clear{AuthHandle: empty(tpm2.TPMRHLockout)}.Execute(l.tpm))
}

func (l *host) extend() {
	l.awake()
	l.done(tpm2.PCRExtend{PCRHandle: empty(4), Digests: tpm2.TPMLDigestValues{
		Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}}}.Execute(l.tpm))
}

// lockOut guesses an authValue until the TPM takes no more guesses.
func (l *host) lockOut() {
	l.awake()
	const index = tpm2.TPMHandle(0x01801111)
	public := tpm2.TPMSNVPublic{NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8, Attributes: tpm2.TPMANV{AuthRead: true, AuthWrite: true}}
	l.done(tpm2.NVDefineSpace{AuthHandle: empty(tpm2.TPMRHOwner), Auth: tpm2.TPM2BAuth{Buffer: []byte("right")}, PublicInfo: tpm2.New2B(public)}.Execute(l.tpm))
	name, err := tpm2.NVName(&public)
	l.done(nil, err)
	for range 100 {
		_, err := tpm2.NVWrite{AuthHandle: tpm2.AuthHandle{Handle: index, Name: *name, Auth: tpm2.PasswordAuth([]byte("wrong"))},
			NVIndex: tpm2.NamedHandle{Handle: index, Name: *name}, Data: tpm2.TPM2BMaxNVBuffer{Buffer: make([]byte, 8)}}.Execute(l.tpm)
		if errors.Is(err, tpm2.TPMRCLockout) {
			return
		}
	}
	l.t.Fatal("the TPM does not lock out")
}

// answer makes the TPM answer everything with a response code.
func (l *host) answer(rc tpm2.TPMRC) {
	l.tpm.Before = func([]byte) ([]byte, error) {
		return binary.BigEndian.AppendUint32([]byte{0x80, 1, 0, 0, 0, 10}, uint32(rc)), nil
	}
}

func (l *host) contents() []byte {
	b := make([]byte, l.disk.Size())
	_, err := l.disk.ReadAt(b, 0)
	l.done(nil, err)
	return b
}

func (l *host) fill(b []byte) {
	l.disk = xentest.NewDisk(int64(len(b)))
	_, err := l.disk.WriteAt(b, 0)
	l.done(nil, err)
	l.done(nil, l.disk.Flush())
}

// saved is a host whose manager has a store with two saves, and is off again;
// older is the disk as it was after the first.
func saved(t *testing.T) (l *host, older *xentest.Disk) {
	t.Helper()
	l = newHost(t)
	l.bootWithTPM()
	for i := range byte(2) {
		l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
			if err := c.SaveHashKey(rec(i)); err != nil {
				t.Errorf("save: %v", err)
			}
		})
		if i == 0 {
			older = l.disk.Snapshot()
		}
	}
	l.reboot()
	l.log = nil
	return l, older
}

// TestPromisedRefusals: each trouble that docs/operations.md lists for disk and
// hardware TPM, with the real parts from the vTPM's frontend to the disk and to
// swtpm: one line in the log, in the words that the document promises, FAIL to the
// clients, and nothing written.
func TestPromisedRefusals(t *testing.T) {
	promises, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	otherHost, _ := saved(t)
	others := otherHost.contents()
	for name, c := range map[string]struct {
		alter func(l *host, older *xentest.Disk)
		line  string
	}{
		"TPM owned by someone else": {func(l *host, _ *xentest.Disk) { l.ownedByOthers() }, "owned by someone else"},
		"TPM in failure mode":       {func(l *host, _ *xentest.Disk) { l.answer(tpm2.TPMRCFailure) }, "in failure mode"},
		"TPM busy":                  {func(l *host, _ *xentest.Disk) { l.answer(tpm2.TPMRCRetry) }, "stays busy"},
		"TPM cleared":               {func(l *host, _ *xentest.Disk) { l.clear() }, "was cleared since the store was made"},
		"TPM replaced":              {func(l *host, _ *xentest.Disk) { l.tpm.Erase() }, "another hardware TPM"},
		"TPM missing":               {func(l *host, _ *xentest.Disk) { l.tpm.Stop() }, "hardware TPM does not answer"},
		"PCR changed":               {func(l *host, _ *xentest.Disk) { l.extend() }, "PCR 4 changed since the key was sealed"},
		"older disk":                {func(l *host, older *xentest.Disk) { l.disk = older }, "an old disk was put back"},
		"blank disk":                {func(l *host, _ *xentest.Disk) { l.fill(make([]byte, 2<<20)) }, "disk is blank, but the hardware TPM remembers"},
		"disk of another manager":   {func(l *host, _ *xentest.Disk) { l.fill(others) }, "belongs to another manager"},
		"disk with foreign data":    {func(l *host, _ *xentest.Disk) { l.fill(bytes.Repeat([]byte("data"), 1<<19)) }, "holds no store of this kind"},
		"disk too small":            {func(l *host, _ *xentest.Disk) { l.fill(make([]byte, 1<<19)) }, "smaller than"},
		"disk shrunk":               {func(l *host, _ *xentest.Disk) { l.fill(l.contents()[:1<<20]) }, "smaller than"},
		"disk read-only":            {func(l *host, _ *xentest.Disk) { l.mode.ReadOnly = true }, "disk error"},
		"disk without flush":        {func(l *host, _ *xentest.Disk) { l.mode.NoFlush = true }, "cannot flush the disk"},
		"disk with barriers only":   {func(l *host, _ *xentest.Disk) { l.mode.NoFlush, l.mode.Barrier = true, true }, "knows barriers but no flush"},
		"disk of blktap":            {func(l *host, _ *xentest.Disk) { l.mode.Nodes = map[string]string{"tapdisk-params": "vhd:/d"} }, "served by blktap"},
		"disk missing":              {func(l *host, _ *xentest.Disk) { l.disk = nil }, "no connection to the disk's backend"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(promises), "`"+c.line+"`") {
				t.Errorf("docs/operations.md does not promise %q", c.line)
			}
			l, older := saved(t)
			c.alter(l, older)
			var before []byte
			if l.disk != nil {
				before = l.contents()
			}
			l.bootWithTPM()
			l.refuses()
			if l.disk != nil && !bytes.Equal(l.contents(), before) {
				t.Error("the disk was written to")
			}
			lines := 0
			for _, line := range l.log {
				if strings.HasPrefix(line, "REFUSING to serve vTPM keys: ") && strings.Contains(line, c.line) {
					t.Log(line)
					lines++
				}
			}
			if lines != 1 {
				t.Errorf("%d lines name the trouble:\n%s", lines, strings.Join(l.log, "\n"))
			}
		})
	}
}

// refuses checks that a vTPM gets nothing but refusals, and is told.
func (l *host) refuses() {
	l.t.Helper()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if _, err := c.LoadHashKey(); !errors.Is(err, proto.Fail) {
			l.t.Errorf("load: %v, want FAIL", err)
		}
		if err := c.SaveHashKey(rec(9)); !errors.Is(err, proto.Fail) {
			l.t.Errorf("save: %v, want FAIL", err)
		}
		if h, err := c.Hello(); err != nil || h.Flags&proto.HelloDegraded == 0 {
			l.t.Errorf("hello: %+v %v", h, err)
		}
	})
}

// A TPM in lockout costs a line in the log and nothing else.
func TestLockedOutTPM(t *testing.T) {
	l, _ := saved(t)
	l.lockOut()
	l.bootWithTPM()
	l.vtpm(drivertest.UUID1, func(_ *xentest.Domain, c *proto.Client) {
		if r, err := c.LoadHashKey(); err != nil || r != rec(1) {
			t.Errorf("load: %v", err)
		}
		if err := c.SaveHashKey(rec(2)); err != nil {
			t.Errorf("save: %v", err)
		}
	})
	if !l.logged("in dictionary-attack lockout") {
		t.Error("the log does not mention it")
	}
}
