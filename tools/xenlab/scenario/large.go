package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xenvtpm/tools/xenlab/debs"
	"xenvtpm/tools/xenlab/dom0"
	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/populate"
	"xenvtpm/tools/xenlab/report"
	"xenvtpm/vtpmmgr-stub/proto"
)

// largePCR is a PCR that neither firmware nor Xen changes, so that a store that was made on the host opens in the
// machine: the one for debugging.
const largePCR = 16

// large runs a manager with 100,000 vTPMs in its 24 MB.
func large() *Scenario {
	return &Scenario{
		Name: "large", About: "a manager of 24 MB with a store of 100,000 vTPMs", Needs: stubs, TPM: machine.TPM20,
		Fill: fillLarge,
		Phases: []Phase{{Name: "large", Timeout: 30 * time.Minute, Job: report.Job{Step: "large",
			Params: map[string]string{"manager": fmt.Sprintf("pcrs=%d", largePCR)}}}},
	}
}

// fillLarge makes the store, over the TPM that the machine gets.
func fillLarge(ctx context.Context, files, tpm string) error {
	at := func(name string) string { return filepath.Join(files, strings.TrimPrefix(name, dom0.FilesDir)) }
	if err := os.MkdirAll(filepath.Dir(at(dom0.LargeManager)), 0o755); err != nil {
		return fmt.Errorf("xenlab: %w", err)
	}
	return populate.Run(ctx, populate.Config{
		SWTPM: debs.LookPath("swtpm"), TPMState: tpm,
		ManagerDisk: at(dom0.LargeManager), ManagerSize: 64 << 20, VTPMDisk: at(dom0.LargeVTPM), VTPMSize: 4 << 20,
		VTPMs: dom0.LargeVTPMs, UUID: dom0.LargeUUID, Real: dom0.LargeReal,
		PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 1 << largePCR},
	})
}
