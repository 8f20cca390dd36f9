package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"xenvtpm/tools/stubimage/manifest"
	"xenvtpm/tools/stubimage/verify"
	"xenvtpm/tools/xlconf"
)

// A startable is a domain whose image was verified.
type startable struct {
	Config  string          `json:"config"`
	Name    string          `json:"name"`
	Image   string          `json:"image"` // as it is booted: absolute, links of its folder resolved
	SHA256  string          `json:"sha256"`
	Version string          `json:"version"`
	Commit  string          `json:"commit"`
	Signers []verify.Signer `json:"signers"`
	Started bool            `json:"started"`

	text []byte // of the configuration, with Image as its kernel
}

// startVerdict is what start --json prints.
type startVerdict struct {
	OK      bool         `json:"ok"`
	Code    verify.Code  `json:"code,omitempty"`
	Detail  string       `json:"detail,omitempty"`
	Config  string       `json:"config,omitempty"` // that was refused
	Domains []*startable `json:"domains,omitempty"`
}

// runStart starts the domains of xl configurations whose images the policy
// accepts. All are verified before the first is started.
func runStart(e *env, args []string) error {
	var dir *string
	var dry *bool
	configs, err := e.parse(args, atLeastOne, func(fs *flag.FlagSet) {
		dir = fs.String("policy", verify.PolicyDir, "policy folder")
		dry = fs.Bool("dry-run", false, "verify only")
	})
	if err != nil {
		return err
	}
	policy, err := loadPolicy(*dir)
	if err != nil {
		return err
	}
	v := startVerdict{OK: true}
	for _, config := range configs {
		s, err := verified(config, policy)
		if err != nil {
			return e.refuse(config, err)
		}
		v.Domains = append(v.Domains, s)
	}
	for _, s := range v.Domains {
		if !*dry {
			if err := e.create(s); err != nil {
				return err
			}
			s.Started = true
		}
	}
	return e.print(v, func() {
		for _, s := range v.Domains {
			fmt.Fprintf(e.out, "OK %s: %s of release %s, signed by %s\n", s.Name, s.Image, s.Version, signedBy(s.Signers))
		}
	})
}

// loadPolicy reads a policy that nobody else can change.
func loadPolicy(dir string) (verify.Policy, error) {
	policy, err := verify.LoadPolicy(dir)
	if err != nil {
		return policy, err
	}
	for _, name := range []string{verify.SignersFile, verify.RevokedFile, verify.RulesFile} {
		err := unchangeable(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the last two need not be there
			return policy, err
		}
	}
	return policy, nil
}

// refuse makes the line, or the JSON, of an image that is not started.
func (e *env) refuse(config string, err error) error {
	var r *verify.Refusal
	if !errors.As(err, &r) {
		return fmt.Errorf("%s: %w", config, err)
	}
	if perr := e.print(startVerdict{Code: r.Code, Detail: r.Detail, Config: config}, func() {}); perr != nil {
		return perr
	}
	return fmt.Errorf("REFUSED %s: %w", config, err)
}

func signedBy(list []verify.Signer) string {
	var names []string
	for _, s := range list {
		names = append(names, strings.Join(s.Principals, ","))
	}
	return strings.Join(names, " and ")
}

// otherCode are settings that make xl boot something else than kernel=, or
// more than it. Our images need none of them.
var otherCode = []string{"bootloader", "bootloader_args", "builder", "ramdisk", "device_tree", "firmware", "firmware_override",
	"pvshim", "pvshim_path", "pvshim_cmdline", "device_model_override", "stubdomain_kernel", "stubdomain_ramdisk"}

// verified reads a configuration and checks the image that it boots.
func verified(config string, policy verify.Policy) (*startable, error) {
	b, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	f, err := xlconf.Parse(b)
	if err != nil {
		return nil, err
	}
	if found := f.Has(otherCode...); len(found) > 0 {
		return nil, fmt.Errorf("%s= would bring code into the domain that nobody signed; if this is no vTPM or manager, use xl create", found[0])
	}
	if kind, err := f.Text("type"); err != nil || kind != "pvh" {
		return nil, errors.New(`the images boot as type = "pvh" only`)
	}
	name, err := f.Text("name")
	if err != nil {
		return nil, err
	}
	kernel, err := f.Text("kernel")
	if err != nil {
		return nil, err
	}
	if kernel, err = filepath.Abs(kernel); err != nil {
		return nil, err
	}
	path, report, err := verify.Image(kernel, policy)
	if err != nil {
		return nil, err
	}
	if err := unchangeable(path); err != nil {
		return nil, err
	}
	s := &startable{Config: config, Name: name, Image: path, Version: report.Manifest.Version,
		Commit: report.Manifest.Commit, Signers: report.Signers}
	s.SHA256 = digest(report.Manifest, filepath.Base(path))
	s.text, err = f.WithText("kernel", path)
	return s, err
}

func digest(m *manifest.Manifest, file string) string {
	for _, d := range m.Digests() {
		if d.Name == file {
			return d.SHA256
		}
	}
	return ""
}

// create runs xl with what was verified: a copy of the configuration that was
// read, which names the image without symbolic links.
func (e *env) create(s *startable) error {
	dir, err := os.MkdirTemp("", "vtpmctl-") // for the owner alone
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, filepath.Base(s.Config))
	if err := os.WriteFile(file, s.text, 0o600); err != nil {
		return err
	}
	cmd := exec.Command("xl", "create", file)
	cmd.Stdout, cmd.Stderr = e.err, e.err // standard output is for the verdict
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: the image is good, but xl create failed: %w", s.Config, err)
	}
	return nil
}
