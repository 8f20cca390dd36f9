package state

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// golden reads a slot and its record from testdata.
func golden(t testing.TB, version int) (image, record []byte) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("testdata/v%d.txt", version))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(b))
	if len(lines) != 2 {
		t.Fatal(len(lines), "lines")
	}
	if image, err = hex.DecodeString(lines[0]); err != nil {
		t.Fatal(err)
	}
	if record, err = hex.DecodeString(lines[1]); err != nil {
		t.Fatal(err)
	}
	return image, record
}

// Slots of every version, with their records, made by the first program that
// wrote them: they must be readable for ever, in either slot.
func TestGolden(t *testing.T) {
	for v := 1; v <= version; v++ {
		for slot := range 2 {
			image, record := golden(t, v)
			d := newSim(8192)
			copy(d.data[slot*4096:], image)
			s, err := Open(Config{Disk: d, Keys: &simKeys{record: record}})
			if err != nil {
				t.Fatalf("version %d, slot %d: %v", v, slot, err)
			}
			if got := s.Blob(); string(got) != "golden state" {
				t.Fatalf("version %d, slot %d: %q", v, slot, got)
			}
		}
	}
}

// Today's code still writes the bytes of the newest version.
func TestGoldenWrite(t *testing.T) {
	image, record := golden(t, version)
	now, err := seal(header{generation: 7, second: 4096}, record[hashSize:], []byte("golden state"))
	if err != nil || !bytes.Equal(now, image) {
		t.Fatalf("seal writes another format: %v", err)
	}
}
