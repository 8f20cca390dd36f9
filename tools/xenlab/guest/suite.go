package guest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xenvtpm/tools/tpm2tools"
)

// suite runs the whole suite of tpm2-tools on the device. The parameter families names some of it only.
func suite(s *Session) error {
	if err := s.release(); err != nil {
		return err
	}
	if err := os.Setenv("PATH", toolsDir); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "suite")
	if err != nil {
		return err
	}
	b := &tpm2tools.Bench{
		Dir: dir, Env: []string{"TPM2TOOLS_TCTI=device:" + DevicePath}, Limit: 5 * time.Minute, Brief: true,
		Open: func() (tpm2tools.Transport, error) { return Open(DevicePath) },
	}
	used := make(map[string]bool)
	lines, start := 0, time.Now()
	for _, f := range s.families() {
		began := time.Now()
		r, err := b.Run(context.Background(), f)
		s.Check(fmt.Sprintf("tpm2-tools, %s: %s", f.Name, f.About), err)
		s.Value(f.Name, fmt.Sprintf("%d command lines in %.1f s", r.Commands, time.Since(began).Seconds()))
		lines += r.Commands
		maps.Copy(used, r.Tools)
	}
	if s.params["families"] == "" {
		s.Check("tpm2-tools: every program was used", unused(used))
	}
	s.Metric("command lines of tpm2-tools and OpenSSL", float64(lines), "")
	s.Metric("their time", time.Since(start).Seconds(), "s")
	return nil
}

// toolsDir is where the archive has tpm2-tools and OpenSSL.
const toolsDir = "/usr/bin"

// families are those that were asked for. The certificate is checked before the
// last family, which gives the TPM another endorsement key.
func (s *Session) families() []tpm2tools.Family {
	all := tpm2tools.Families()
	all = slices.Insert(all, len(all)-1, tpm2tools.EKCertificate())
	if only := s.params["families"]; only != "" {
		names := strings.Split(only, ",")
		all = slices.DeleteFunc(all, func(f tpm2tools.Family) bool { return !slices.Contains(names, f.Name) })
	}
	return all
}

// unused compares the programs that the package has with those that were run.
func unused(used map[string]bool) error {
	files, err := filepath.Glob(filepath.Join(toolsDir, "tpm2_*"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("there are none")
	}
	var left []string
	for _, f := range files {
		name := filepath.Base(f)
		if _, excused := tpm2tools.NotUsed[name]; !used[name] && !excused {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("not used: %s", strings.Join(left, ", "))
	}
	return nil
}
