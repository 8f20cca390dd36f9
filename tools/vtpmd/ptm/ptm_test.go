package ptm

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCaptured parses what QEMU 7.2 was seen to send.
func TestCaptured(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want Request
	}{
		{"00000010", Request{Command: SetDataFD, Known: true}},
		{"00000001", Request{Command: GetCapability, Known: true}},
		{"0000001100001000", Request{Command: SetBufferSize, Size: 4096, Known: true}},
		{"0000000200000000", Request{Command: Init, Known: true}},
		{"0000000503000000", Request{Command: SetLocality, Locality: 3, Known: true}},
		{"0000000503", Request{Command: SetLocality, Locality: 3, Known: true}}, // tpm2-tss
		{"0000000c000000010000000200000010", Request{Command: GetStateBlob, Flags: 1, Type: 2, Offset: 16, Known: true}},
		{"000000ff", Request{Command: 255}},
	} {
		r := bufio.NewReader(bytes.NewReader(unhex(t, c.hex)))
		got, err := ReadRequest(r)
		if err != nil {
			t.Errorf("%s: %v", c.hex, err)
			continue
		}
		if got.Command != c.want.Command || got.Flags != c.want.Flags || got.Type != c.want.Type || got.Offset != c.want.Offset ||
			got.Locality != c.want.Locality || got.Size != c.want.Size || got.Known != c.want.Known {
			t.Errorf("%s: %+v, want %+v", c.hex, got, c.want)
		}
		if r.Buffered() != 0 {
			t.Errorf("%s: %d bytes left", c.hex, r.Buffered())
		}
	}
}

func TestBadLengths(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want error
	}{
		{"", io.EOF},
		{"0000", io.ErrUnexpectedEOF},
		{"00000002", io.ErrUnexpectedEOF},
		{"000000020000", io.ErrUnexpectedEOF},
		{"00000007ffffffff", ErrTooLong},
		{"0000000700001001", ErrTooLong},
		{"0000000700000004aabb", io.ErrUnexpectedEOF},
		{"0000000d00000000000000017fffffff", ErrTooLong},
	} {
		if _, err := ReadRequest(bufio.NewReader(bytes.NewReader(unhex(t, c.hex)))); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.hex, err, c.want)
		}
	}
}

// TestResponses compares with what swtpm 0.7.1 was seen to answer.
func TestResponses(t *testing.T) {
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{Result(Success), "00000000"},
		{Capabilities(0xffff), "000000000000ffff"},
		{Established(false), "0000000000000000"},
		{Established(true), "0000000001000000"},
		{Words(0, 0x1000, 0xaf8, 0x1000), "000000000000100000000af800001000"},
		{StateBlob(2, []byte{1, 2, 3}, 1), "000000000000000200000003000000020203"},
		{StateBlob(0, []byte{1, 2, 3}, 9), "00000000000000000000000300000000"},
		{Info("{}", 0), "0000000000000003000000037b7d00"},
	} {
		if hex.EncodeToString(c.got) != c.want {
			t.Errorf("%x, want %s", c.got, c.want)
		}
	}
}

func FuzzReadRequest(f *testing.F) {
	for _, s := range []string{"00000001", "0000000200000000", "0000000700000002aabb", "0000000d000000000000000100000001aa", "000000120000000000000001000000000000"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		q, err := ReadRequest(r)
		if err == nil && len(q.Data) > MaxBlob {
			t.Errorf("%d bytes of data", len(q.Data))
		}
	})
}
