// Package repro builds the images twice, in surroundings as different as one
// machine allows, and compares every byte, the toolchain's included.
package repro

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"xenvtpm/tools/stubimage/build"
)

// ErrDiffers reports builds that are not the same.
var ErrDiffers = errors.New("builds differ")

// Config of a comparison.
type Config struct {
	Root   string // source tree
	Images string // an earlier build to compare as well; may be empty
	Keep   bool   // leave the two builds for inspection
	Logf   func(string, ...any)
}

// surroundings are what differs between two builds.
type surroundings struct {
	name  string
	tree  string // folder of the source, below the work folder
	umask string
	mtime time.Time // of all source files
	env   []string
}

var both = []surroundings{
	{"first", "a/src", "022", time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC),
		[]string{"USER=alice", "LOGNAME=alice", "TZ=UTC", "LANG=C", "LC_ALL=C", "GOMAXPROCS=2", "GOAMD64=v1"}},
	{"second", "b/home of another user/projects/vtpm", "077", time.Date(2020, 11, 12, 13, 14, 15, 0, time.UTC),
		[]string{"USER=bob", "LOGNAME=bob", "TZ=Asia/Kathmandu", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "GOMAXPROCS=3",
			"GOAMD64=v2", "GOEXPERIMENT=nogreenteagc", "GOFIPS140=latest", "SOURCE_DATE_EPOCH=1"}},
}

// Run builds and compares. It returns a line for each thing that is the same.
func Run(ctx context.Context, cfg Config) ([]string, error) {
	work, err := os.MkdirTemp("", "stubimage-repro-")
	if err != nil {
		return nil, err
	}
	if cfg.Keep {
		cfg.Logf("repro: keeping %s", work)
	} else {
		defer os.RemoveAll(work)
	}
	// Both trees are made before the first build, the second from the first:
	// somebody may be editing the source meanwhile.
	from := cfg.Root
	for _, s := range both {
		tree := filepath.Join(work, s.tree)
		if err := copySource(ctx, from, tree, s.mtime); err != nil {
			return nil, err
		}
		from = tree
	}
	var outs, tools []map[string]string
	for _, s := range both {
		start := time.Now()
		out, tool, err := s.build(ctx, cfg, work)
		if err != nil {
			return nil, fmt.Errorf("%s build: %w", s.name, err)
		}
		outs, tools = append(outs, out), append(tools, tool)
		cfg.Logf("repro: %s build took %d s", s.name, int(time.Since(start).Seconds()))
	}
	same, err := compare("toolchain", tools[0], tools[1], true)
	if err != nil {
		return nil, err
	}
	images, err := compare("images", outs[0], outs[1], false)
	if err != nil || cfg.Images == "" {
		return append(same, images...), err
	}
	here, err := hashTree(cfg.Images, built)
	if err != nil {
		return nil, err
	}
	mine := map[string]string{}
	for name, sum := range outs[0] {
		if built(name) {
			mine[name] = sum
		}
	}
	_, err = compare(cfg.Images+" against both", mine, here, false)
	return append(same, images...), err
}

// built picks the images of a folder: the manifest has the commit in it, which
// the copies do not know, and signatures come later.
func built(name string) bool {
	for _, im := range build.Release {
		if name == im.Name || name == im.Name+".gz" {
			return true
		}
	}
	return false
}

// build makes everything below work and returns the hashes of the output and
// of the toolchain.
func (s *surroundings) build(ctx context.Context, cfg Config, work string) (images, toolchain map[string]string, err error) {
	tree := filepath.Join(work, s.tree)
	base := filepath.Join(work, strings.SplitN(s.tree, "/", 2)[0])
	env, err := s.environment(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	out := filepath.Join(base, "out")
	cmd := exec.CommandContext(ctx, "sh", "-c", "umask "+s.umask+`; exec "$@"`, "sh",
		"go", "run", "./tools/stubimage", "build", "--smoke-out", "", "--trust", "-", "--packages", "0", "--out", out)
	cmd.Dir, cmd.Env = tree, env
	// The go command's children would survive it, and be waited for.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cfg.Logf("repro: %s build in %s", s.name, tree)
	if b, err := cmd.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("%w\n%s", err, b)
	}
	if images, err = hashTree(out, func(string) bool { return true }); err != nil {
		return nil, nil, err
	}
	// The stamp names the tools' inputs, which the manifest has as well.
	toolchain, err = hashTree(filepath.Join(base, "cache"), func(name string) bool {
		return !strings.HasSuffix(name, "/lock")
	})
	return images, toolchain, err
}

// environment has its own home, caches and temporary folder. Modules come from
// the module cache of the caller, as from a proxy, so that no network is
// needed for those that are there; go.sum says what they must be.
func (s *surroundings) environment(ctx context.Context, base string) ([]string, error) {
	b, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	have := strings.Split(string(b), "\n")
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(base, "home"), "TMPDIR=" + filepath.Join(base, "tmp"),
		"GOCACHE=" + filepath.Join(base, "gocache"), "GOMODCACHE=" + filepath.Join(base, "modules"), "XENVTPM_CACHE=" + filepath.Join(base, "cache"),
		"GOPROXY=file://" + filepath.Join(have[0], "cache", "download") + "," + have[1], "GOSUMDB=" + have[2],
		"GOFLAGS=-modcacherw", "CGO_ENABLED=0", "GOTOOLCHAIN=local"}
	if t := os.Getenv("TAMAGO"); t != "" {
		env = append(env, "TAMAGO="+t)
	}
	for _, dir := range []string{"home", "tmp", "cache"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			return nil, err
		}
	}
	return append(env, s.env...), nil
}

// copySource copies what belongs to the source: the files that git knows or
// would add, or everything but build output where there is no git.
func copySource(ctx context.Context, from, to string, mtime time.Time) error {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = from
	// Only a repository of its own counts, not one around it.
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(from))
	var names []string
	if b, err := cmd.Output(); err == nil {
		names = strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	} else if names, err = walk(from); err != nil {
		return err
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, not yet committed
		}
		if err != nil {
			return err
		}
		file := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(file, mtime, mtime); err != nil {
			return err
		}
	}
	return nil
}

func walk(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if d.IsDir() && (rel == "build" || rel == ".cache" || rel == ".git") {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			names = append(names, rel)
		}
		return err
	})
	return names, err
}

// hashTree returns the SHA-256 of each plain file below dir that want picks,
// by relative name.
func hashTree(dir string, want func(string) bool) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || !want(rel) {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		sums[rel] = fmt.Sprintf("%x", h.Sum(nil))
		return nil
	})
	return sums, err
}

// compare returns a line for each equal file, or for all of them, or the names
// of those that differ.
func compare(what string, a, b map[string]string, one bool) ([]string, error) {
	var differ, same []string
	for name, sum := range a {
		if b[name] != sum {
			differ = append(differ, name)
			continue
		}
		same = append(same, fmt.Sprintf("%s  %s", sum, name))
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			differ = append(differ, name)
		}
	}
	if len(differ) > 0 {
		sort.Strings(differ)
		return nil, fmt.Errorf("%w: %s: %s", ErrDiffers, what, strings.Join(differ[:min(len(differ), 20)], ", "))
	}
	sort.Slice(same, func(i, j int) bool { return same[i][66:] < same[j][66:] })
	if one {
		return []string{fmt.Sprintf("%s: %d files", what, len(same))}, nil
	}
	return same, nil
}
