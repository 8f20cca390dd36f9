package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func ns(list ...int) (d []time.Duration) {
	for _, n := range list {
		d = append(d, time.Duration(n))
	}
	return d
}

func TestSummarize(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i) // 100 down to 1
	}
	for _, tt := range []struct {
		in   []time.Duration
		want stat
	}{
		{nil, stat{}},
		{ns(7), stat{1, 7, 7}},
		{ns(3, 1, 2), stat{3, 2, 3}},
		{ns(4, 1, 3, 2), stat{4, 3, 4}},
		{ns(9, 1, 1, 1, 1), stat{5, 1, 9}},
		{hundred, stat{100, 51, 96}},
	} {
		if got := summarize(tt.in); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.in, got, tt.want)
		}
	}
	in := ns(3, 1, 2)
	if summarize(in); in[0] != 3 {
		t.Error("the measurements were sorted in place")
	}
}

// rows makes one row per pair of medians, swtpm's first.
func rows(medians ...[2]int) *result {
	r := &result{Memory: map[string]memory{"vtpmd": {1000, 2000}, "swtpm": {3000, 4000}}}
	for i, m := range medians {
		r.Rows = append(r.Rows, row{Name: string(rune('a' + i)), Swtpm: stat{1, time.Duration(m[0]), time.Duration(2 * m[0])}, Vtpmd: stat{1, time.Duration(m[1]), time.Duration(4 * m[1])}})
	}
	r.mean()
	return r
}

func TestGeometricMean(t *testing.T) {
	r := rows([2]int{200, 100}, [2]int{800, 100})
	if r.Rows[0].Ratio != 2 || r.Rows[1].Ratio != 8 || math.Abs(r.Mean-4) > 1e-9 {
		t.Errorf("ratios %v and %v, mean %v; want 2, 8, 4", r.Rows[0].Ratio, r.Rows[1].Ratio, r.Mean)
	}
	if r := rows([2]int{100, 400}, [2]int{400, 100}); math.Abs(r.Mean-1) > 1e-9 {
		t.Errorf("4 times as slow and 4 times as fast: mean %v", r.Mean)
	}
	if r := rows(); r.Mean != 0 {
		t.Errorf("no rows: mean %v", r.Mean)
	}
	if r := rows([2]int{100, 0}); math.IsInf(r.Mean, 0) || math.IsNaN(r.Mean) {
		t.Errorf("a time of nothing: mean %v", r.Mean)
	}
}

// Each promise that is not kept fails -check with what it is about.
func TestCheck(t *testing.T) {
	good := func() *result { return rows([2]int{300, 100}, [2]int{300, 100}) }
	if err := good().check(); err != nil {
		t.Errorf("all is kept: %v", err)
	}
	if err := rows([2]int{100, 100}, [2]int{900, 100}).check(); err != nil {
		t.Errorf("as fast is not slower: %v", err)
	}
	for _, tt := range []struct {
		name string
		r    *result
		want string
	}{
		{"one is slower", rows([2]int{99, 100}, [2]int{900, 100}), "a is slower than swtpm: 0.99"},
		{"mean", rows([2]int{249, 100}), "geometric mean is 2.49"},
		{"memory", func() *result { r := good(); r.Memory["vtpmd"] = memory{1000, 40000}; return r }(), "40960000 octets of memory"},
		{"in process", func() *result { r := good(); r.InProcess = []engineTime{{"x", 3001, 0}}; return r }(), "x takes 3.001µs and 0 allocations in process"},
		{"allocations", func() *result { r := good(); r.InProcess = []engineTime{{"x", 100, 1}}; return r }(), "x takes 100ns and 1 allocations in process"},
		{"nothing measured", rows(), "geometric mean is 0.00"},
	} {
		if err := tt.r.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	both := rows([2]int{99, 100}, [2]int{50, 100}).check()
	if both == nil || strings.Count(both.Error(), "slower") != 2 {
		t.Errorf("two slow commands: %v", both)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 us", 3712: "3.7 us", 999900: "999.9 us", 1e6: "1.00 ms", 4_423_000: "4.42 ms",
		10e6: "10.0 ms", 2820_300_000: "2820.3 ms",
	} {
		if got := short(d); got != want {
			t.Errorf("%d ns: %q, want %q", int64(d), got, want)
		}
	}
}

// The table has a line for each fact, and the file is Markdown with four columns.
func TestTable(t *testing.T) {
	r := rows([2]int{4000, 2000}, [2]int{9000, 3000})
	r.Date, r.CPU, r.Version = "2026-01-02", "a processor", "0.0"
	r.Floor = stat{1, 1500, 1500}
	r.Rows[0].Durable = &stat{1, 7000, 7000}
	r.Rows[1].KeyGen = true
	r.InProcess = []engineTime{{"a", 123, 0}}
	want := [][4]string{
		{"a", "4.0 us", "2.0 us", "2.00"},
		{"  durable (swtpm cannot)", "", "7.0 us", ""},
		{"b", "9.0 us", "3.0 us", "3.00"},
		{"  95th percentile", "18.0 us", "12.0 us", "1.50"},
		{"geometric mean", "", "", "2.45"},
		{"the socket alone (no TPM can be faster)", "1.5 us", "1.5 us", ""},
		{"resident memory", "3.1 MB", "1.0 MB", ""},
		{"  its peak", "4.1 MB", "2.0 MB", ""},
		{"in process: a", "", "0.12 us", ""},
	}
	got := r.cells()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: %q, want %q", i, got[i], want[i])
		}
	}
	var out bytes.Buffer
	if err := r.table(&out); err != nil || strings.Count(out.String(), "\n") != len(want)+1 {
		t.Errorf("%v\n%s", err, out.String())
	}
	name := filepath.Join(t.TempDir(), "b.md")
	if err := r.writeFile(name); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "|") {
			lines++
			if strings.Count(line, "|") != 5 {
				t.Errorf("not four columns: %q", line)
			}
		}
	}
	if lines != len(want)+2 || !strings.Contains(string(text), "2026-01-02, a processor, swtpm 0.0.") || !strings.Contains(string(text), "| &nbsp;&nbsp;95th percentile | 18.0 us |") {
		t.Errorf("%d lines of a table:\n%s", lines, text)
	}
	if s := r.bound(); !strings.Contains(s, "take 1.5 us between") || !strings.Contains(s, "of 1\nlines in less than 3 times that") || !strings.Contains(s, "most 2.7 times") {
		t.Errorf("what the socket leaves: %s", s)
	}
	if s := rows([2]int{1000, 1}).bound(); s != "" {
		t.Errorf("no floor: %s", s)
	}
	again := new(result)
	if b, err := json.Marshal(r); err != nil || json.Unmarshal(b, again) != nil || again.Mean != r.Mean || len(again.Rows) != 2 || *again.Rows[0].Durable != *r.Rows[0].Durable {
		t.Errorf("JSON does not come back: %v, %+v", err, again)
	}
}
