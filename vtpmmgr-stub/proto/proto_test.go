package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestFrameRoundTrip(t *testing.T) {
	for _, body := range [][]byte{nil, {1}, bytes.Repeat([]byte{7}, MaxBody)} {
		f, err := Request{Tag: TagVTPM, Ordinal: OrdSaveHashKey, Body: body}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRequest(f)
		if err != nil || r.Tag != TagVTPM || r.Ordinal != OrdSaveHashKey || !bytes.Equal(r.Body, body) {
			t.Fatalf("body of %d: got %v %v", len(body), r, err)
		}
	}
	if _, err := (Request{Body: make([]byte, MaxBody+1)}).Append(nil); !errors.Is(err, ErrTooLong) {
		t.Fatalf("oversized body: %v", err)
	}
}

func TestParseRequestRefuses(t *testing.T) {
	good, _ := Request{Tag: TagVTPM, Ordinal: OrdLoadHashKey}.Append(nil)
	withSize := func(n uint32) []byte {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint32(b[2:], n)
		return b
	}
	cases := map[string][]byte{
		"empty": nil, "one byte": {1}, "nine bytes": good[:9],
		"size 0": withSize(0), "size 9": withSize(9), "size 11": withSize(11), "size 2^32-1": withSize(0xFFFFFFFF),
		"trailing": append(bytes.Clone(good), 0), "over 4088": make([]byte, MaxFrame+1),
	}
	for name, b := range cases {
		if _, err := ParseRequest(b); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, want ErrFrame", name, err)
		}
	}
}

// The frames of a stock vTPM, byte for byte.
func TestUpstreamBytes(t *testing.T) {
	rec := Record{}
	for i := range rec[:MinRecord] {
		rec[i] = byte(i + 1)
	}
	load := []byte{0x01, 0xC1, 0, 0, 0, 10, 0, 0, 0, 2}
	r, err := ParseRequest(load)
	if err != nil || r.Tag != TagVTPM || r.Ordinal != OrdLoadHashKey || len(r.Body) != 0 {
		t.Fatalf("LOADHASHKEY: %v %v", r, err)
	}
	rsp := AppendResponse(nil, r.Tag, Success, LoadBody(rec))
	want := append([]byte{0x01, 0xC4, 0, 0, 0, 62, 0, 0, 0, 0}, rec[:52]...)
	if !bytes.Equal(rsp, want) {
		t.Fatalf("LOADHASHKEY answer %x, want %x", rsp, want)
	}
	rec[60] = 1
	if n := len(LoadBody(rec)); n != 64 {
		t.Fatalf("record with a non-zero tail answers %d bytes", n)
	}
	if got := AppendResponse(nil, TagVTPM, BadParameter, []byte{1, 2}); !bytes.Equal(got, []byte{1, 0xC4, 0, 0, 0, 10, 0, 0, 0, 3}) {
		t.Fatalf("an error carries a body: %x", got)
	}
}

func TestParseSaveLengths(t *testing.T) {
	for n := 0; n < 80; n++ {
		_, err := ParseSave(make([]byte, n))
		if ok := n >= 52 && n <= 64; ok != (err == nil) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

type sendFunc func([]byte) ([]byte, error)

func (f sendFunc) Send(b []byte) ([]byte, error) { return f(b) }

func TestClientAgainstScriptedManager(t *testing.T) {
	answer := func(b ...byte) *Client {
		return &Client{S: sendFunc(func([]byte) ([]byte, error) { return b, nil })}
	}
	if _, err := answer(1, 0xC4, 0, 0, 0, 10, 0, 0, 0, 3).LoadHashKey(); !errors.Is(err, ErrNoRecord) {
		t.Errorf("BAD_PARAMETER: %v, want ErrNoRecord", err)
	}
	if _, err := answer(1, 0xC4, 0, 0, 0, 10, 0, 0, 0, 9).LoadHashKey(); !errors.Is(err, Fail) || errors.Is(err, ErrNoRecord) {
		t.Errorf("FAIL: %v, want Fail and not ErrNoRecord", err)
	}
	if _, err := answer(1, 0xC4, 0, 0, 0, 10, 0, 0, 0, 0).LoadHashKey(); !errors.Is(err, ErrBody) {
		t.Errorf("empty success: %v, want ErrBody", err)
	}
	if err := answer(0, 0xC4, 0, 0, 0, 10, 0, 0, 0, 0).SaveHashKey(Record{}); !errors.Is(err, ErrTag) {
		t.Errorf("wrong tag: %v, want ErrTag", err)
	}
	if err := answer(1, 0xC4, 0, 0, 0, 11, 0, 0, 0, 0, 5).SaveHashKey(Record{}); !errors.Is(err, ErrBody) {
		t.Errorf("trailing byte: %v, want ErrBody", err)
	}
	if got, err := answer(0, 0xC4, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 2, 8, 9).GetRandom(4); err != nil || !bytes.Equal(got, []byte{8, 9}) {
		t.Errorf("GetRandom: %x %v", got, err)
	}
	if _, err := answer(0, 0xC4, 0, 0, 0, 16, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 8, 9).GetRandom(4); !errors.Is(err, ErrBody) {
		t.Errorf("GetRandom with an absurd length: %v", err)
	}
	if _, err := answer(0, 0xC4, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0).GetRandom(4); !errors.Is(err, ErrBody) {
		t.Errorf("GetRandom with no bytes: %v", err)
	}
}

func TestUUID(t *testing.T) {
	const s = "01234567-89ab-cdef-0123-456789abcdef"
	u, err := ParseUUID(s)
	if err != nil || u.String() != s {
		t.Fatalf("%v %v", u, err)
	}
	for _, bad := range []string{"", "0", s[:35], s + "0", "0123456-789ab-cdef-0123-456789abcdef", "g1234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-45678-abcdef"} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte{1, 0xC1, 0, 0, 0, 10, 0, 0, 0, 2})
	f.Add([]byte{1, 0xC1, 0, 0, 0, 18, 0, 0, 1, 2, 0, 1, 0, 11, 0, 0, 0, 3})
	f.Add([]byte{0, 0xC1, 0, 0, 0, 14, 0, 0, 0, 70, 0, 0, 0, 32})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := r.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encode(decode(x)) = %x %v, x = %x", again, err, b)
		}
		if s, err := ParseHwPCRRead(r.Body); err == nil && s.Count() > 24 {
			t.Fatalf("%d PCRs", s.Count())
		}
		_, _ = ParseSave(r.Body)
		_, _ = ParseHello(r.Body)
		_, _ = ParseGetRandom(r.Body)
	})
}

func FuzzClientAnswer(f *testing.F) {
	f.Add([]byte{1, 0xC4, 0, 0, 0, 10, 0, 0, 0, 3})
	f.Add([]byte{0, 0xC4, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 2, 8, 9})
	f.Fuzz(func(t *testing.T, ans []byte) {
		c := &Client{S: sendFunc(func([]byte) ([]byte, error) { return ans, nil })}
		_, _ = c.LoadHashKey()
		_ = c.SaveHashKey(Record{})
		_, _ = c.BootHash()
		_, _ = c.Hello()
		if b, err := c.GetRandom(8); err == nil && len(b) > 8 {
			t.Fatal("more random bytes than asked for")
		}
		_, _ = c.PCRRead(1)
		_, _ = c.HwPCRs(PCRSelection{AlgSHA256, 7})
	})
}
