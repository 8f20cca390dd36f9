package state

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// testdata/v1.txt is a slot of version 1 and its record, made by the first
// version of this package. It must be readable for ever.
func TestGoldenV1(t *testing.T) {
	b, err := os.ReadFile("testdata/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(b))
	if len(lines) != 2 {
		t.Fatal(len(lines), "lines")
	}
	image, err := hex.DecodeString(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	record, err := hex.DecodeString(lines[1])
	if err != nil {
		t.Fatal(err)
	}
	for slot := range 2 {
		d := newSim(8192)
		copy(d.data[slot*4096:], image)
		s, err := Open(Config{Disk: d, Keys: &simKeys{record: record}})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Blob(); string(got) != "golden state" {
			t.Fatalf("%q", got)
		}
	}
	// And today's code still writes the same bytes.
	now, err := seal(header{generation: 7}, record[hashSize:], []byte("golden state"))
	if err != nil || !bytes.Equal(now, image) {
		t.Fatalf("seal writes another format: %v", err)
	}
}
