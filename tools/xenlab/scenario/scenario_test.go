package scenario

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xenvtpm/tools/xenlab/dom0"
	"xenvtpm/tools/xenlab/report"
)

func TestPayload(t *testing.T) {
	image := make([]byte, 4096)
	copy(image[headerMagic:], "HdrS")
	image[setupSects] = 2
	binary.LittleEndian.PutUint32(image[payloadOffset:], 0x40)
	binary.LittleEndian.PutUint32(image[payloadLength:], 20)
	copy(image[3*512+0x40:], "\x1f\x8bcompressed kernel.")
	got, err := payload(image)
	if err != nil || string(got) != "\x1f\x8bcompressed kernel." {
		t.Errorf("payload = %q, %v", got, err)
	}
	binary.LittleEndian.PutUint32(image[payloadLength:], 1<<31)
	if _, err := payload(image); err == nil {
		t.Error("a payload after the end was accepted")
	}
	binary.LittleEndian.PutUint32(image[payloadLength:], 3)
	if _, err := payload(image); err == nil {
		t.Error("a payload of three bytes was accepted")
	}
	if _, err := payload([]byte("MZ")); err == nil {
		t.Error("a file without a header was accepted")
	}
}

func FuzzPayload(f *testing.F) {
	f.Add(make([]byte, 0x250))
	seed := make([]byte, 2048)
	copy(seed[headerMagic:], "HdrS")
	f.Add(seed)
	f.Fuzz(func(t *testing.T, image []byte) {
		p, err := payload(image)
		if err == nil && len(p) > len(image) {
			t.Fatalf("a payload of %d bytes in %d", len(p), len(image))
		}
	})
}

// Every phase names a step that dom0 knows, has a time limit, and its logs have a place of their own.
func TestScenariosAreSound(t *testing.T) {
	names := make(map[string]bool)
	steps := dom0.Steps()
	for _, s := range All() {
		if names[s.Name] || s.Name == "" || s.About == "" {
			t.Errorf("scenario %q has no name of its own or no description", s.Name)
		}
		names[s.Name] = true
		phases := make(map[string]bool)
		for _, p := range s.Phases {
			if p.Guest == "" && steps[p.Job.Step] == nil {
				t.Errorf("%s: dom0 has no step %q", s.Name, p.Job.Step)
			}
			if p.Timeout <= 0 || phases[p.Name] {
				t.Errorf("%s: phase %q has no time limit or no name of its own", s.Name, p.Name)
			}
			phases[p.Name] = true
		}
		if len(s.Phases) == 0 {
			t.Errorf("%s has no phases", s.Name)
		}
	}
	for _, want := range []string{"smoke", "firstlight", "lifecycle", "bench"} {
		if !names[want] {
			t.Errorf("there is no scenario %s", want)
		}
	}
}

func TestImagesAreFoundOrMissed(t *testing.T) {
	dir := t.TempDir()
	w := &Workshop{Build: dir, Images: filepath.Join(dir, "images")}
	s := &Scenario{Needs: []string{"smoke-*"}, Phases: []Phase{{}}}
	if err := w.images(s); err == nil || !strings.Contains(err.Error(), "make images") {
		t.Errorf("err = %v, want a hint at make images", err)
	}
	for _, f := range []string{"images/vtpm-stub", "images/vtpm-stub.gz", "images/smoke-a.elf", "smoke/b", "images/smoke/c"} {
		name := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.images(s); err != nil {
		t.Fatal(err)
	}
	if got := s.Phases[0].Job.Images; got != "smoke-a,smoke-b,smoke-c" {
		t.Errorf("images are %q", got)
	}
	s = &Scenario{Needs: stubs, Phases: []Phase{{}}}
	if err := w.images(s); err == nil {
		t.Error("a missing vtpmmgr-stub was not noticed")
	}
}

// A run without a single check, or with a failed one, is not a success.
func TestTableAndRatios(t *testing.T) {
	res := Result{Scenario: "bench", OK: false, Logs: "build/lab/bench",
		Checks: []report.Record{{Name: "good", Source: "vtpm", OK: true}, {Name: "bad", Source: "vtpm"}},
		Metrics: []report.Record{
			{Name: "X round trip", Source: "guest1", Value: 8, Unit: "ms"},
			{Name: "load", Source: "guest1", Value: 1}, {Name: "load", Source: "swtpm", Value: 1},
			{Name: "only here", Source: "guest1", Value: 1},
			{Name: "X round trip", Source: "swtpm", Value: 4, Unit: "ms"},
		}}
	ratios(&res)
	if len(res.Metrics) != 6 || res.Metrics[5].Value != 2 {
		t.Errorf("ratios gave %+v", res.Metrics)
	}
	text := Table(res)
	for _, want := range []string{"ok    good", "FAIL  bad", "FAILED, 1 of 2 checks", "X round trip, vTPM over"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	var out strings.Builder
	if err := WriteJSON(&out, res); err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back.OK || len(back.Checks) != 2 {
		t.Errorf("JSON gave %+v, %v", back, err)
	}
}

func TestRunNeedsAResult(t *testing.T) {
	dir := t.TempDir()
	w := &Workshop{Build: dir, Images: dir, Logf: t.Logf}
	res, err := w.Run(context.Background(), &Scenario{Name: "nothing", Needs: []string{"x"}}, Options{})
	if err == nil || res.OK {
		t.Errorf("a run without its image gave %+v, %v", res, err)
	}
}

func TestBootPassesItsOptions(t *testing.T) {
	s, err := Boot(BootOptions{Image: "/x/y/hello.elf", MemoryMB: 24, Extra: "a b", Expect: "SUCCESS"})
	if err != nil {
		t.Fatal(err)
	}
	p := s.Phases[0].Job.Params
	if s.Images["hello"] != "/x/y/hello.elf" || p["name"] != "hello" || p["memory"] != "24" || p["extra"] != "a b" || p["expect"] != "SUCCESS" {
		t.Errorf("images %v, params %v", s.Images, p)
	}
	if s.Dir != "boot-hello" {
		t.Errorf("logs go to %q", s.Dir)
	}
}
