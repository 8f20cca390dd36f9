package tpm2

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// lines returns the lines of a file in testdata; none is a failure.
func lines(t *testing.T, name string) (list []string) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if l := strings.TrimSpace(s.Text()); l != "" && !strings.HasPrefix(l, "#") {
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		t.Fatalf("testdata/%s is empty", name)
	}
	return list
}

// TestTableComplete holds the tables against the list of commands of the
// specification: each is there once, with the code of its constant.
func TestTableComplete(t *testing.T) {
	rows := map[string]*command{}
	for _, table := range commandTables() {
		for i := range table {
			d := &table[i]
			if rows[d.name] != nil {
				t.Errorf("%s is there twice", d.name)
			}
			rows[d.name] = d
		}
	}
	slots := map[int]string{}
	for name, d := range rows {
		s := commandSlot(d.cc)
		if s < 0 {
			t.Fatalf("%s: code 0x%x is out of range", name, uint32(d.cc))
		}
		if slots[s] != "" {
			t.Errorf("%s and %s have the same code", name, slots[s])
		}
		slots[s] = name
	}
	listed := map[string]bool{}
	for _, l := range lines(t, "commands-v185.txt") {
		name := strings.TrimPrefix(l, "TPM2_")
		switch name {
		case "HMAC", "HMAC_Start": // same codes as MAC and MAC_Start
			name = strings.Replace(name, "HMAC", "MAC", 1)
		}
		if rows[name] == nil {
			t.Errorf("%s is missing", name)
		}
		listed[name] = true
	}
	for name := range rows {
		if !listed[name] {
			t.Errorf("%s is not in the specification", name)
		}
	}
}

// TestTableAttributes holds TPMA_CC against what another TPM 2.0 reports.
func TestTableAttributes(t *testing.T) {
	x := newRawTPM(t)
	for _, l := range lines(t, "command-attributes.txt") {
		var name string
		var want uint32
		if _, err := fmt.Sscanf(l, "%s 0x%x", &name, &want); err != nil {
			t.Fatal(l, err)
		}
		d := x.commands[commandSlot(CC(want&0xFFFF))]
		if got := d.attributes(); got != want {
			t.Errorf("%s (%s): attributes 0x%08x, want 0x%08x", name, d.name, got, want)
		}
	}
}

// TestTableForm checks what the dispatcher takes for granted.
func TestTableForm(t *testing.T) {
	for _, table := range commandTables() {
		for _, d := range table {
			if len(d.handles) > maxHandlesInCmd {
				t.Errorf("%s has %d handles", d.name, len(d.handles))
			}
			for i, h := range d.handles {
				if h.role != roleNone && i >= d.roles() || i < d.roles() && h.role == roleNone {
					t.Errorf("%s: handles with authorization must come first", d.name)
				}
			}
			if d.flags&fNoSessions != 0 && d.roles() > 0 {
				t.Errorf("%s needs an authorization but takes no sessions", d.name)
			}
		}
	}
}
