package dom0

import (
	"strings"
	"testing"
	"time"

	"xenvtpm/vtpmmgr-stub/proto"
)

func TestLargeUUIDsAreDifferent(t *testing.T) {
	seen := make(map[proto.UUID]bool)
	for i := range LargeVTPMs + 1 { // the scenario adds one
		seen[LargeUUID(i)] = true
	}
	if len(seen) != LargeVTPMs+1 || seen[proto.UUID{}] {
		t.Errorf("%d different uuids, one of them zero: %v", len(seen), seen[proto.UUID{}])
	}
	if LargeUUID(LargeReal).String() != vtpmUUID {
		t.Errorf("the vTPM that starts has the uuid %v", LargeUUID(LargeReal))
	}
}

func TestLargeListIsChecked(t *testing.T) {
	const n = 7
	uuid := func(i int) proto.UUID { return proto.UUID{byte(i + 1)} }
	list := func(change func(*proto.List)) proto.List {
		var l proto.List
		for i := range n {
			l.VTPMs = append(l.VTPMs, proto.VTPM{UUID: uuid(i), Saved: true})
		}
		change(&l)
		return l
	}
	if err := checkLarge(list(func(*proto.List) {}), n, uuid); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*proto.List){
		"one too few":    func(l *proto.List) { l.VTPMs = l.VTPMs[1:] },
		"one too many":   func(l *proto.List) { l.VTPMs = append(l.VTPMs, proto.VTPM{UUID: uuid(n), Saved: true}) },
		"one twice":      func(l *proto.List) { l.VTPMs[3] = l.VTPMs[2] },
		"a stranger":     func(l *proto.List) { l.VTPMs[3].UUID = uuid(n) },
		"never saved":    func(l *proto.List) { l.VTPMs[3].Saved = false },
		"an error":       func(l *proto.List) { l.VTPMs[3].Error = "damaged" },
		"a damaged leaf": func(l *proto.List) { l.Bad = []string{"sector 17"} },
	} {
		if err := checkLarge(list(change), n, uuid); err == nil {
			t.Errorf("%s: not noticed", what)
		}
	}
}

func TestLargePagesAreChecked(t *testing.T) {
	rest := []proto.UUID{{2}, {3}, {4}}
	saved := func(more bool, us ...proto.UUID) (p proto.List) {
		p.More = more
		for _, u := range us {
			p.VTPMs = append(p.VTPMs, proto.VTPM{UUID: u, Saved: true})
		}
		return p
	}
	damaged := saved(false, rest...)
	damaged.Bad = []string{"sector 17"}
	unsaved := saved(false, rest...)
	unsaved.VTPMs[1].Saved = false
	for _, c := range []struct {
		what string
		page proto.List
		ok   bool
	}{
		{"the last page", saved(false, rest...), true},
		{"a page before it", saved(true, rest[:2]...), true},
		{"an empty page", saved(true), false},
		{"the last page, but more follow", saved(true, rest...), false},
		{"nothing follows, but something is left", saved(false, rest[:2]...), false},
		{"one left out", saved(true, rest[0], rest[2]), false},
		{"a wrong beginning", saved(false, rest[1], rest[2]), false},
		{"more than there are", saved(false, rest[0], rest[1], rest[2], proto.UUID{5}), false},
		{"damage", damaged, false},
		{"never saved", unsaved, false},
	} {
		if err := checkPage(c.page, rest); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestOpenedIn(t *testing.T) {
	d, err := openedIn("[  28.1] vtpmmgr: store open: manager 7d8e, 100001 entries, commit 9, 457 of 492 sectors free, opened in 1.5984s")
	if err != nil || d != 1598400*time.Microsecond {
		t.Errorf("%v, %v", d, err)
	}
	for _, line := range []string{"", "REFUSING to serve vTPM keys", "store open, opened in a moment"} {
		if _, err := openedIn(line); err == nil {
			t.Errorf("a time was found in %q", line)
		}
	}
}

func TestHeapIsBounded(t *testing.T) {
	report := func(ram, peak string) []string {
		return []string{"vtpmmgr: starting", "vtpmmgr: RAM " + ram + " KB, image 4991 KB, limit 16240 KB, heap live 814 KB, peak " + peak +
			" KB, runtime 4564 KB, 4 collections", "vtpmmgr: power off"}
	}
	if err := heapBelow(report("24576", "2496"), largeHeap); err != nil {
		t.Error(err)
	}
	for what, lines := range map[string][]string{
		"too much heap":     report("24576", "8193"),
		"a larger domain":   report("24577", "2496"),
		"no report":         {"vtpmmgr: starting"},
		"not even a number": report("24576", "99999999999999999999"),
	} {
		if err := heapBelow(lines, largeHeap); err == nil {
			t.Errorf("%s: not noticed", what)
		}
	}
	if n := len(largeValue); n != 64 || strings.Contains(string(largeValue), "\x00") {
		t.Errorf("%d bytes do not fill the NV index", n)
	}
}
