// Command fuzz runs every fuzz target of the module for a given time each and
// prints a table of what ran. It exits 1 when a target fails, 2 on wrong use,
// and 3 when it finds no target at all (so that a moved tree cannot pass
// unnoticed).
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"time"
)

// Target is one fuzz function of one package.
type Target struct {
	Package string `json:"package"`
	Name    string `json:"name"`
	dir     string // of the package
}

// Result is what one run of a target gave.
type Result struct {
	Target
	Execs       int64   `json:"execs"`
	Seconds     float64 `json:"seconds"`
	Interesting int64   `json:"new_interesting"`
	Failed      bool    `json:"failed"`
	Output      string  `json:"output,omitempty"`
}

var (
	fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]+)\(\w+ \*testing\.F\)`)
	progress = regexp.MustCompile(`execs: (\d+).*new interesting: (\d+)`)
)

func main() {
	per := flag.Duration("time", 2*time.Second, "how long each target runs")
	match := flag.String("run", "", "only targets whose package/name matches this expression")
	asJSON := flag.Bool("json", false, "print the results as JSON")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: fuzz [flags] [packages]   (default ./...)\n\nRuns each fuzz target for a while; exit 1 on a failure, 3 when there is no target.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	filter, err := regexp.Compile(*match)
	if err != nil {
		fmt.Fprintf(os.Stderr, "fuzz: -run: %v\n", err)
		os.Exit(2)
	}
	pkgs := flag.Args()
	if len(pkgs) == 0 {
		pkgs = []string{"./..."}
	}
	targets, err := find(pkgs, filter)
	if err != nil {
		fmt.Fprintf(os.Stderr, "fuzz: %v\n", err)
		os.Exit(2)
	}
	if len(targets) == 0 {
		fmt.Fprintln(os.Stderr, "fuzz: no fuzz target found")
		os.Exit(3)
	}
	results, failed := runAll(targets, *per)
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		_ = enc.Encode(results) // stdout is all there is to tell
	} else {
		table(results)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// find returns the fuzz targets in the packages, by package and name.
func find(pkgs []string, filter *regexp.Regexp) ([]Target, error) {
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}, pkgs...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var targets []Target
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Dir           string
			TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		for _, f := range append(p.TestGoFiles, p.XTestGoFiles...) {
			text, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				return nil, err
			}
			for _, m := range fuzzFunc.FindAllSubmatch(text, -1) {
				if t := (Target{p.ImportPath, string(m[1]), p.Dir}); filter.MatchString(t.Package + "/" + t.Name) {
					targets = append(targets, t)
				}
			}
		}
	}
	sort.Slice(targets, func(i, j int) bool {
		a, b := targets[i], targets[j]
		return a.Package < b.Package || a.Package == b.Package && a.Name < b.Name
	})
	return targets, nil
}

func runAll(targets []Target, per time.Duration) (results []Result, failed int) {
	for i, t := range targets {
		fmt.Fprintf(os.Stderr, "fuzz %d/%d %s %s\n", i+1, len(targets), t.Package, t.Name)
		r := run(t, per)
		if r.Failed {
			failed++
			fmt.Fprintln(os.Stderr, r.Output)
		}
		results = append(results, r)
	}
	return results, failed
}

// attempts is how often a target may end without a finding, see deadlineOnly and hungInput.
const attempts = 3

func run(t Target, per time.Duration) (r Result) {
	for range attempts {
		start := time.Now()
		// Minimising an interesting input can outlast the whole run.
		cmd := exec.Command("go", "test", "-run=^$", "-fuzz=^"+t.Name+"$", "-fuzztime="+per.String(), "-fuzzminimizetime=1x", t.Package)
		out, err := cmd.CombinedOutput()
		r = Result{Target: t, Seconds: time.Since(start).Seconds(), Failed: err != nil}
		if err != nil {
			r.Output = string(out)
		}
		r.Execs, r.Interesting = lastProgress(out)
		switch input := hungInput(out); {
		case err == nil:
			return r
		case deadlineOnly(out):
			fmt.Fprintf(os.Stderr, "fuzz: %s ended by its own deadline, not by a finding: once more\n", t.Name)
		case input != "" && passes(t, input):
			fmt.Fprintf(os.Stderr, "fuzz: %s stood still at %s, which passes by itself: once more\n", t.Name, input)
		default:
			return r
		}
	}
	return r
}

// standstill is what go test -fuzz says when an input took ten seconds or the process
// was killed: by an endless loop, or because the machine had no time or memory for it.
var standstill = regexp.MustCompile(`(?s)hung or terminated unexpectedly.*Failing input written to testdata/fuzz/(\w+/\w+)`)

// hungInput returns the input at which the fuzzing process stood still, "" when it did not.
func hungInput(out []byte) string {
	m := standstill.FindSubmatch(out)
	if m == nil || bytes.Contains(out, []byte("panic:")) {
		return ""
	}
	return string(m[1])
}

// passes runs a target once more with one recorded input and time enough, and forgets
// the input when it passes.
func passes(t Target, input string) bool {
	cmd := exec.Command("go", "test", "-count=1", "-timeout=60s", "-run=^"+t.Name+"$/^"+filepath.Base(input)+"$", ".")
	cmd.Dir = t.dir
	return cmd.Run() == nil && os.Remove(filepath.Join(t.dir, "testdata", "fuzz", input)) == nil
}

// deadlineOnly tells the one failure of go test -fuzz that is no finding: on a
// busy machine its own time limit can hit while it talks to a worker, and is
// then reported as a failure, without an input.
func deadlineOnly(out []byte) bool {
	return bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input written")) &&
		!bytes.Contains(out, []byte("panic:"))
}

// lastProgress reads the counters of the last progress line of go test -fuzz.
func lastProgress(out []byte) (execs, interesting int64) {
	all := progress.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return 0, 0
	}
	last := all[len(all)-1]
	execs, _ = strconv.ParseInt(string(last[1]), 10, 64)       // digits only by the expression
	interesting, _ = strconv.ParseInt(string(last[2]), 10, 64) // likewise
	return execs, interesting
}

func table(results []Result) {
	var execs int64
	failed := 0
	fmt.Printf("%-44s %-34s %12s %8s  %s\n", "package", "target", "execs", "seconds", "result")
	for _, r := range results {
		verdict := "ok"
		if r.Failed {
			verdict = "FAIL"
			failed++
		}
		execs += r.Execs
		fmt.Printf("%-44s %-34s %12d %8.1f  %s\n", r.Package, r.Name, r.Execs, r.Seconds, verdict)
	}
	fmt.Printf("%d targets, %d executions, %d failed\n", len(results), execs, failed)
}
