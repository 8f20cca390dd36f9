package populate

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/manager"
	"xenvtpm/vtpmmgr-stub/proto"
)

func testConfig(t *testing.T) Config {
	t.Helper()
	program, err := exec.LookPath("swtpm")
	if err != nil {
		t.Skip("swtpm is not installed: no TPM to seal to")
	}
	dir := t.TempDir()
	return Config{SWTPM: program, TPMState: filepath.Join(dir, "tpm"),
		ManagerDisk: filepath.Join(dir, "manager"), ManagerSize: 2 << 20, VTPMDisk: filepath.Join(dir, "vtpm"), VTPMSize: 2 << 20,
		VTPMs: 3*clients/2 + 1, Real: clients / 3, PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1 << 16},
		UUID: func(i int) (u proto.UUID) {
			binary.BigEndian.PutUint32(u[:], uint32(i)+1)
			return u
		}}
}

// What was made opens after the TPM's power cycle, with every vTPM in it, and the real one finds its state.
func TestPopulatedStoreOpens(t *testing.T) {
	c := testConfig(t)
	if err := Run(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	hardware, err := startTPM(c.SWTPM, c.TPMState)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := hardware.stop(); err != nil {
			t.Error(err)
		}
	}()
	hw, err := hwtpm.Open(hardware, hwtpm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(c.ManagerDisk)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m, err := manager.New(manager.Config{Disk: d, HW: hw, PCRs: c.PCRs, Rand: rand.Reader, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	records := make(map[proto.Record]bool)
	for i := range c.VTPMs {
		l := &link{m: m, uuid: c.UUID(i)}
		rec, err := (&proto.Client{S: l}).LoadHashKey()
		if err != nil {
			t.Fatalf("vTPM %d: %v", i, err)
		}
		records[rec] = true
		m.Disconnected(l.client())
	}
	if len(records) != c.VTPMs {
		t.Errorf("%d different records of %d vTPMs", len(records), c.VTPMs)
	}
	l := &link{m: m, uuid: c.UUID(c.VTPMs)}
	if _, err := (&proto.Client{S: l}).LoadHashKey(); !errors.Is(err, proto.ErrNoRecord) {
		t.Errorf("a vTPM that was not made: %v", err)
	}
	// The disk must be found good, not made anew: that needs a blank one.
	l = &link{m: m, uuid: c.UUID(c.Real)}
	state, err := openDisk(c.VTPMDisk)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	if err := startVTPM(l, state); err != nil || strings.Contains(strings.Join(l.log, "\n"), "making a new TPM") {
		t.Errorf("%v; its log is %q", err, l.log)
	}
}

// openDisk opens what newDisk made.
func openDisk(name string) (*disk, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &disk{f, info.Size()}, nil
}

func TestRunReportsWhatFails(t *testing.T) {
	c := testConfig(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	c = testConfig(t)
	c.ManagerSize = 64 << 10
	if err := Run(context.Background(), c); err == nil {
		t.Error("a store on a disk of 64 KiB")
	}
	c = testConfig(t)
	c.VTPMSize = 64 << 10
	if err := Run(context.Background(), c); err == nil {
		t.Error("a vTPM on a disk of 64 KiB")
	}
	c = testConfig(t)
	c.SWTPM = "/nonexistent/swtpm"
	if err := Run(context.Background(), c); err == nil {
		t.Error("no swtpm")
	}
}
