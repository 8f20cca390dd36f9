package ptm

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
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
		if got, err := ReadRequest(r); !errors.Is(err, io.EOF) {
			t.Errorf("%s: then %+v, %v", c.hex, got, err)
		}
	}
}

// TestLocalityPadding reads locality commands with and without padding, in pieces of
// every size, with commands right behind them.
func TestLocalityPadding(t *testing.T) {
	for stream, want := range map[string][]Command{
		"0000000503000000" + "0000000e":                               {SetLocality, Stop},
		"0000000503" + "0000000e":                                     {SetLocality, Stop},
		"0000000b03000000" + "0000000503000000" + "0000000e":          {ResetTPMEstablished, SetLocality, Stop},
		"0000000b03" + "0000000503" + "0000000e" + "0000000501000000": {ResetTPMEstablished, SetLocality, Stop, SetLocality},
	} {
		for size := 1; size < 20; size++ {
			r := bufio.NewReader(&pieces{unhex(t, stream), size})
			var got []Command
			for {
				q, err := ReadRequest(r)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || !q.Known || q.Command == SetLocality && q.Locality != 3 && q.Locality != 1 {
					t.Fatalf("%s in pieces of %d: %+v, %v", stream, size, q, err)
				}
				got = append(got, q.Command)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in pieces of %d: commands %v, want %v", stream, size, got, want)
			}
		}
	}
}

// pieces gives at most size bytes with each read.
type pieces struct {
	b    []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.b)
	p.b = p.b[n:]
	return n, nil
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
		{"00000000", io.ErrUnexpectedEOF},
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
	for _, s := range []string{"00000001", "0000000200000000", "0000000700000002aabb", "0000000503000000" + "0000000e", "0000000000000000", "0000000d000000000000000100000001aa", "000000120000000000000001000000000000"} {
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
