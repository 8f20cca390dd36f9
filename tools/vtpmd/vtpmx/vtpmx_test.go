package vtpmx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIoctlNumber(t *testing.T) {
	// Computed from the kernel's header with a C compiler.
	if iocNewDev != 0xc014a100 {
		t.Errorf("0x%x", iocNewDev)
	}
}

func TestNoDriver(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "vtpmx"))
	if err == nil || !strings.Contains(err.Error(), "tpm_vtpm_proxy") {
		t.Errorf("missing driver: %v", err)
	}
	null, err := Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }() // nothing was written
	if _, err := New(null, true); err == nil {
		t.Error("a file that is no proxy control is accepted")
	}
}
