package main

import (
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
