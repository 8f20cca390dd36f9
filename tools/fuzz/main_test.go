package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestLastProgress(t *testing.T) {
	out := []byte("fuzz: elapsed: 0s, gathering baseline coverage: 0/7 completed\n" +
		"fuzz: elapsed: 2s, execs: 1200 (600/sec), new interesting: 3 (total: 10)\n" +
		"fuzz: elapsed: 3s, execs: 9301 (9000/sec), new interesting: 5 (total: 12)\nPASS\n")
	if e, n := lastProgress(out); e != 9301 || n != 5 {
		t.Errorf("lastProgress = %d, %d; want 9301, 5", e, n)
	}
	if e, n := lastProgress([]byte("FAIL")); e != 0 || n != 0 {
		t.Errorf("lastProgress of no progress = %d, %d", e, n)
	}
}

func TestFuzzFunc(t *testing.T) {
	src := "func FuzzA(f *testing.F) {\n}\n// func FuzzNo(f *testing.F)\nfunc FuzzB_2(fz *testing.F) {}\nfunc TestFuzz(t *testing.T) {}\n"
	m := fuzzFunc.FindAllStringSubmatch(src, -1)
	if len(m) != 2 || m[0][1] != "FuzzA" || m[1][1] != "FuzzB_2" {
		t.Errorf("found %v", m)
	}
}

func TestFindEmpty(t *testing.T) {
	targets, err := find([]string{"."}, regexp.MustCompile(""))
	if err != nil || len(targets) != 0 {
		t.Errorf("find = %v, %v; this package has no fuzz target", targets, err)
	}
}

func TestDeadlineOnly(t *testing.T) {
	for out, want := range map[string]bool{
		"--- FAIL: FuzzParse (2.11s)\n    context deadline exceeded\nFAIL\n":                                         true,
		"--- FAIL: FuzzParse (2.11s)\n    context deadline exceeded\n    Failing input written to testdata/fuzz/x\n": false,
		"panic: context deadline exceeded\n":                                                                         false,
		"--- FAIL: FuzzParse (0.02s)\n    Failing input written to testdata/fuzz/x\n":                                false,
	} {
		if deadlineOnly([]byte(out)) != want {
			t.Errorf("%q: %v", out, !want)
		}
	}
}

func TestHungInput(t *testing.T) {
	const hung = "--- FAIL: FuzzProbe (25.84s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\n"
	for out, want := range map[string]string{
		hung + "    Failing input written to testdata/fuzz/FuzzProbe/152b\n    To re-run:\n": "FuzzProbe/152b",
		hung: "",
		"panic: boom\n" + hung + "    Failing input written to testdata/fuzz/FuzzProbe/152b\n":           "",
		"--- FAIL: FuzzProbe (0.02s)\n    Failing input written to testdata/fuzz/FuzzProbe/152b\nFAIL\n": "",
	} {
		if got := hungInput([]byte(out)); got != want {
			t.Errorf("%q: %q, want %q", out, got, want)
		}
	}
}

// A recorded input is run alone; one that passes is forgotten.
func TestPasses(t *testing.T) {
	dir := t.TempDir()
	input := filepath.Join(dir, "testdata", "fuzz", "FuzzX", "abc")
	if err := os.MkdirAll(filepath.Dir(input), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go.mod": "module x\n\ngo 1.26\n",
		"x_test.go": "package x\n\nimport \"testing\"\n\nfunc FuzzX(f *testing.F) {\n" +
			"\tf.Fuzz(func(t *testing.T, s string) {\n\t\tif s == \"bad\" {\n\t\t\tt.Fatal(s)\n\t\t}\n\t})\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		value string
		want  bool
	}{{"bad", false}, {"good", true}} {
		if err := os.WriteFile(input, []byte("go test fuzz v1\nstring(\""+c.value+"\")\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if passes(Target{"x", "FuzzX", dir}, "FuzzX/abc") != c.want {
			t.Errorf("input %q: want %v", c.value, c.want)
		}
		if _, err := os.Stat(input); (err != nil) != c.want {
			t.Errorf("input %q: %v afterwards", c.value, err)
		}
	}
}
