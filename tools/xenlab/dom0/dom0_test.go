package dom0

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xenvtpm/tools/xenlab/report"
)

const xlList = `Name                                        ID   Mem VCPUs	State	Time(s)
Domain-0                                     0  1024     2     r-----      12.3
vtpmmgr                                      1    24     1     -b----       0.4
smoke-panic                                  7    16     1     ---sc-       0.1
(null)                                       9     0     1     --p--d       1.5
`

func TestParseList(t *testing.T) {
	got, err := parseList(xlList)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{"Domain-0", 0, "r-----", 12.3}, {"vtpmmgr", 1, "-b----", 0.4},
		{"smoke-panic", 7, "---sc-", 0.1}, {"(null)", 9, "--p--d", 1.5}}
	if !slices.Equal(got, want) {
		t.Errorf("parseList = %+v", got)
	}
	for i, c := range []struct{ stopped, crashed bool }{{false, false}, {false, false}, {true, true}, {true, false}} {
		if got[i].Shutdown() != c.stopped || got[i].Crashed() != c.crashed {
			t.Errorf("%+v: stopped %v, crashed %v", got[i], got[i].Shutdown(), got[i].Crashed())
		}
	}
	for _, bad := range []string{"head\nvtpm 1 16 1 -b----", "head\nvtpm x 16 1 -b---- 0.1", "head\nvtpm 1 16 1 -b---- soon"} {
		if _, err := parseList(bad); err == nil {
			t.Errorf("parseList(%q) gave no error", bad)
		}
	}
}

func TestKeptTo(t *testing.T) {
	const head = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n"
	for _, c := range []struct {
		out string
		ok  bool
	}{
		{head + "plain                                1     0    1   -b-       3.0  1 / all\n", true},
		{head + "plain                                1     0    -   --p       0.0  1 / all\n", true},
		{head + "plain                                1     0    1   r--       3.0  all / all\n", false},
		{head + "plain  1  0  1  r--  3.0  1 / all\nplain  1  1  0  r--  3.0  0-1 / all\n", false},
		{head + "plain                                1     0    1   r--       3.0  1\n", false},
		{head, false},
		{"", false},
	} {
		if err := keptTo(c.out, "1"); (err == nil) != c.ok {
			t.Errorf("keptTo(%q) = %v", c.out, err)
		}
	}
}

func TestConsoleJoinsPieces(t *testing.T) {
	c := &Console{name: "x"}
	var fresh []string
	for _, piece := range []string{"one\r\ntw", "o", "\nthree is unfini", "shed"} {
		fresh = append(fresh, c.add([]byte(piece))...)
	}
	if strings.Join(fresh, "|") != "one|two" {
		t.Errorf("complete lines are %q", fresh)
	}
	if got := strings.Join(c.Lines(), "|"); got != "one|two|three is unfinished" {
		t.Errorf("Lines = %q", got)
	}
	if line, next, ok := c.Find(0, "w"); !ok || line != "two" || next != 2 {
		t.Errorf("Find = %q, %d, %v", line, next, ok)
	}
	if _, _, ok := c.Find(2, "two"); ok {
		t.Error("Find looked before its start")
	}
	if line, err := c.WaitAny(0, "nothing", "three"); err != nil || line != "three is unfinished" {
		t.Errorf("WaitAny = %q, %v", line, err)
	}
	if _, err := c.WaitAny(0, "four"); err == nil || !strings.Contains(err.Error(), "three is unfinished") {
		t.Errorf("WaitAny = %v, want an error with the last lines", err)
	}
	if got := c.Tail(2); got != "two\nthree is unfinished" {
		t.Errorf("Tail = %q", got)
	}
}

// A guest's failed check and a damaged record both make the job fail.
func TestGuestRecordsCount(t *testing.T) {
	var buf bytes.Buffer
	l := &Lab{out: report.NewWriter(&buf)}
	g := &guestReports{}
	for _, line := range []string{
		"[    1.0] kernel noise",
		`LAB {"kind":"check","name":"a","ok":true}`,
		`LAB {"kind":"value","name":"ek","text":"old"}`,
		`LAB {"kind":"value","name":"ek","text":"new"}`,
		`LAB {"kind":"check","name":"b","text":"why"}`,
		`LAB {"kind":"che[ 2.0] interrupted`,
	} {
		l.line(g, "guest1", line)
	}
	if n := l.failed.Load(); n != 2 {
		t.Errorf("%d failures were counted, want 2", n)
	}
	if r, ok := g.find(report.Value, "ek"); !ok || r.Text != "new" {
		t.Errorf("the value is %+v", r)
	}
	if _, ok := g.find(report.Done, ""); ok {
		t.Error("the guest is done although it did not say so")
	}
	l.line(g, "guest1", `LAB {"kind":"done","ok":true}`)
	if _, ok := g.find(report.Done, ""); !ok {
		t.Error("the guest's end was not seen")
	}
	if strings.Contains(buf.String(), `"kind":"done"`) {
		t.Error("a guest's end was passed on as the job's")
	}
	if n := strings.Count(buf.String(), `"source":"guest1"`); n != 4 {
		t.Errorf("%d records went to the host, want 4:\n%s", n, buf.String())
	}
}

func TestChangedSectors(t *testing.T) {
	a := make([]byte, 5*sectorSize)
	b := bytes.Clone(a)
	b[sectorSize], b[2*sectorSize-1], b[4*sectorSize+7] = 1, 1, 1
	got, err := changedSectors(a, b)
	if err != nil || !slices.Equal(got, []int64{1, 4}) {
		t.Errorf("changedSectors = %v, %v", got, err)
	}
	if _, err := changedSectors(a, b[1:]); err == nil {
		t.Error("images of different sizes were compared")
	}
}

func TestFlipChangesOneByte(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "disk")
	before := bytes.Repeat([]byte{0xa5}, 3*sectorSize)
	if err := os.WriteFile(name, before, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := flip(name, 1); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range before {
		if before[i] != after[i] {
			n++
			if i/sectorSize != 1 {
				t.Errorf("byte %d changed, which is in another sector", i)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d bytes changed, want 1", n)
	}
	if err := flip(name, 3); err == nil {
		t.Error("a sector after the end was flipped")
	}
}

func TestLastWrittenPrefersTheFinalWrites(t *testing.T) {
	dir := t.TempDir()
	image := func(name string, sectors ...int) string {
		b := make([]byte, 4*sectorSize)
		for _, s := range sectors {
			b[s*sectorSize] = 1
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	before, after, final := image("before", 0), image("after", 0, 1), image("final", 0, 1, 3)
	if got, err := lastWritten(before, after, final); err != nil || !slices.Equal(got, []int64{3}) {
		t.Errorf("lastWritten = %v, %v, want sector 3", got, err)
	}
	if got, err := lastWritten(before, after, after); err != nil || !slices.Equal(got, []int64{1}) {
		t.Errorf("lastWritten = %v, %v, want sector 1", got, err)
	}
	if _, err := lastWritten(before, before, before); err == nil {
		t.Error("disks without a write gave no error")
	}
}

func TestRanIntoLimit(t *testing.T) {
	good := "libxl: debug: libxl_event.c:813:libxl__ev_xswatch_register: watch w=0x55 wpath=/local/domain/2/backend/vtpm/0/0/state token=3/0: register slotnum=3\n" +
		"libxl: debug: libxl_event.c:1038:devstate_callback: backend /local/domain/2/backend/vtpm/0/0/state wanted state 6 ok\n"
	if line, found := ranIntoLimit(good); found {
		t.Errorf("a good run was taken for a time limit because of %q", line)
	}
	for _, bad := range []string{
		"libxl: debug: libxl_aoutils.c:88:xswait_timeout_callback: backend /local/domain/2/backend/vtpm/0/0/state (hoping for state change to 6): xswait timeout (path=/local/domain/2/backend/vtpm/0/0/state)\n",
		"libxl: debug: libxl_event.c:1052:devstate_callback: backend /local/domain/2/backend/vtpm/0/0/state wanted state 2 timed out\n",
		"libxl: error: libxl_device.c:1111:device_backend_callback: Domain 0:unable to remove device\n",
	} {
		if line, found := ranIntoLimit(good + bad); !found || line+"\n" != bad {
			t.Errorf("ranIntoLimit found %q, want %q", line, bad)
		}
	}
}

func TestPeakHeapLine(t *testing.T) {
	line := "vtpm: 10007 commands; domain 12, RAM 16384 KB, image 1764 KB, limit 11895 KB, heap live 40 KB, peak 416 KB, runtime 1356 KB"
	m := peakHeap.FindStringSubmatch(line)
	if m == nil || m[1] != "16384" || m[2] != "40" || m[3] != "416" {
		t.Errorf("peakHeap found %q", m)
	}
}

// Every smoke case must be able to fail for want of output.
func TestSmokeCasesExpectOutput(t *testing.T) {
	for name, cases := range smokeCases {
		for _, c := range cases {
			if c.crash && len(c.expect) == 0 {
				t.Errorf("%s %s: a crash that shows nothing would pass", name, c.what)
			}
			if c.expect != nil && len(c.expect) == 0 {
				t.Errorf("%s %s expects nothing", name, c.what)
			}
		}
	}
}
