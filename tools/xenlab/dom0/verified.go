package dom0

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// verifiedStart starts the vTPM with vtpmctl, which verifies the images before it calls xl: not with a changed
// image, and not with a good one that lies beside a changed one, but with what was signed.
func (l *Lab) verifiedStart(s *stack) error {
	// On a file system of dom0's own, because vtpmctl wants to see root as the owner.
	release, trust := filepath.Join(runDir, "release"), filepath.Join(runDir, "trust")
	defer os.RemoveAll(release)
	defer os.RemoveAll(trust)
	if err := errors.Join(copyFolder(release, ReleaseDir), copyFolder(trust, TrustDir)); err != nil {
		return err
	}
	start := []string{"vtpmctl", "start", "--policy", trust}
	for _, changed := range []string{"vtpm-stub", "vtpmmgr-stub.gz"} {
		restore, err := flipByte(filepath.Join(release, changed))
		if err != nil {
			return err
		}
		l.Check("vtpmctl start refuses a vTPM while "+changed+" has a flipped byte", l.refusedStart(s, release, start))
		if err := restore(); err != nil {
			return err
		}
	}
	err := s.startVTPMWith(filepath.Join(release, "vtpm-stub"), start...)
	if l.Check("vtpmctl start starts the vTPM from signed images", err) {
		l.Metric("vtpmctl start, with xl create", s.vtpm.Created.Seconds(), "s")
	}
	return err
}

// refusedStart returns nil if the command refuses to start the vTPM, as it has to.
func (l *Lab) refusedStart(s *stack, release string, start []string) error {
	config, err := s.vtpmConfig(filepath.Join(release, "vtpm-stub"))
	if err != nil {
		return err
	}
	file := filepath.Join(runDir, "refused.cfg")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	out, err := run(xlLimit, append(start, file)...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "REFUSED "+file+": changed-file: ") {
		return fmt.Errorf("it ended with %v:\n%s", err, out)
	}
	l.Logf("  %s", strings.TrimSpace(out))
	if id, _, err := l.xl.do("domid", vtpmName); err == nil {
		return fmt.Errorf("there is a domain %s all the same: %s", vtpmName, id)
	}
	return nil
}

// flipByte changes a byte in the middle of a file; restore changes it back.
func flipByte(name string) (restore func() error, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	flip := func() error {
		b[len(b)/2] ^= 0x01
		return os.WriteFile(name, b, 0o644)
	}
	return flip, flip()
}

// copyFolder copies the files of a folder.
func copyFolder(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
