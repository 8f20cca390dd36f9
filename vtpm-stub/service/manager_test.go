package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"xenvtpm/vtpm-stub/state"
	"xenvtpm/vtpm-stub/tpmcrypto"
	"xenvtpm/vtpmmgr-stub/proto"
)

// senderFunc is a manager.
type senderFunc func(r proto.Request) (proto.Result, []byte, error)

func (f senderFunc) Send(frame []byte) ([]byte, error) {
	r, err := proto.ParseRequest(frame)
	if err != nil {
		return nil, err
	}
	result, body, err := f(r)
	if err != nil {
		return nil, err
	}
	return proto.AppendResponse(nil, r.Tag, result, body), nil
}

func TestKeysLoad(t *testing.T) {
	full := bytes.Repeat([]byte{7}, 64)
	lost := errors.New("transport")
	for _, c := range []struct {
		name   string
		result proto.Result
		body   []byte
		err    error
		want   error
	}{
		{"record", proto.Success, full, nil, nil},
		{"none", proto.BadParameter, nil, nil, state.ErrNoRecord},
		{"open elsewhere", proto.Disabled, nil, nil, proto.Disabled},
		{"manager cannot serve", proto.Fail, nil, nil, proto.Fail},
		{"damaged", proto.DamagedStore, nil, nil, proto.DamagedStore},
		{"short", proto.Success, full[:51], nil, proto.ErrBody},
		{"empty", proto.Success, nil, nil, proto.ErrBody},
		{"transport", 0, nil, lost, lost},
	} {
		k := Keys{&proto.Client{S: senderFunc(func(r proto.Request) (proto.Result, []byte, error) {
			if r.Tag != proto.TagVTPM || r.Ordinal != proto.OrdLoadHashKey {
				t.Errorf("%s: %+v", c.name, r)
			}
			return c.result, c.body, c.err
		})}}
		rec, err := k.Load()
		if !errors.Is(err, c.want) || c.want == nil && !bytes.Equal(rec, full) {
			t.Errorf("%s: %x, %v", c.name, rec, err)
		}
		if c.want != state.ErrNoRecord && errors.Is(err, state.ErrNoRecord) {
			t.Errorf("%s: taken for a vTPM that was never saved", c.name)
		}
	}
}

func TestKeysSave(t *testing.T) {
	rec := bytes.Repeat([]byte{3}, 64)
	for _, result := range []proto.Result{proto.Success, proto.Fail, proto.NoSpace} {
		k := Keys{&proto.Client{S: senderFunc(func(r proto.Request) (proto.Result, []byte, error) {
			if r.Ordinal != proto.OrdSaveHashKey || !bytes.Equal(r.Body, rec) {
				t.Errorf("%+v", r)
			}
			return result, nil, nil
		})}}
		if err := k.Save(rec); (err == nil) != (result == proto.Success) || err != nil && !errors.Is(err, result) {
			t.Errorf("%v: %v", result, err)
		}
	}
}

// pcrSink records what it is given.
type pcrSink map[string][]byte

func (s pcrSink) InitPCR(bank tpmcrypto.Alg, n int, digest []byte) error {
	if len(digest) != bank.DigestSize() {
		return fmt.Errorf("%d bytes", len(digest))
	}
	s[fmt.Sprintf("%d:%d", bank, n)] = bytes.Clone(digest)
	return nil
}

func TestCopyHWPCRs(t *testing.T) {
	value := func(alg uint16, n int) []byte {
		return bytes.Repeat([]byte{byte(alg)<<5 | byte(n)}, proto.DigestSize(alg))
	}
	stock := func(r proto.Request) (proto.Result, []byte, error) {
		if r.Tag == proto.TagRqu && r.Ordinal == proto.OrdTPMPcrRead {
			return proto.Success, value(proto.AlgSHA1, int(binary.BigEndian.Uint32(r.Body))), nil
		}
		return proto.BadOrdinal, nil, nil
	}
	ours := func(r proto.Request) (proto.Result, []byte, error) {
		if r.Ordinal != proto.OrdHwPCRRead {
			return proto.BadOrdinal, nil, nil
		}
		alg := binary.BigEndian.Uint16(r.Body[2:])
		if alg == proto.AlgSHA512 {
			return proto.Unavailable, nil, nil
		}
		var body []byte
		for _, n := range []int{0, 7, 23} {
			body = append(body, value(alg, n)...)
		}
		return proto.Success, body, nil
	}
	const mask = 1 | 1<<7 | 1<<23
	for _, c := range []struct {
		name  string
		mgr   senderFunc
		banks []uint16
	}{
		{"stock manager", stock, []uint16{proto.AlgSHA1}},
		{"our manager", ours, []uint16{proto.AlgSHA1, proto.AlgSHA256, proto.AlgSHA384}},
	} {
		got := pcrSink{}
		if err := copyHWPCRs(&proto.Client{S: c.mgr}, got, mask, t.Logf); err != nil {
			t.Fatal(c.name, err)
		}
		if len(got) != 3*len(c.banks) {
			t.Errorf("%s: %d values", c.name, len(got))
		}
		for _, alg := range c.banks {
			for _, n := range []int{0, 7, 23} {
				if !bytes.Equal(got[fmt.Sprintf("%d:%d", alg, n)], value(alg, n)) {
					t.Errorf("%s: bank %d PCR %d", c.name, alg, n)
				}
			}
		}
	}
	none := senderFunc(func(proto.Request) (proto.Result, []byte, error) { return proto.DisabledCmd, nil, nil })
	if err := copyHWPCRs(&proto.Client{S: none}, pcrSink{}, mask, t.Logf); !errors.Is(err, proto.DisabledCmd) {
		t.Errorf("no bank at all: %v", err)
	}
}

// The hardware's randomness takes part, also when it comes in pieces, and its
// absence is logged and survived.
func TestEntropyFromManager(t *testing.T) {
	asked := 0
	c := &proto.Client{S: senderFunc(func(r proto.Request) (proto.Result, []byte, error) {
		n := min(binary.BigEndian.Uint32(r.Body), 24)
		asked += int(n)
		return proto.Success, append(binary.BigEndian.AppendUint32(nil, n), make([]byte, n)...), nil
	})}
	b := make([]byte, 32)
	if _, err := io.ReadFull(NewEntropy(c, t.Logf), b); err != nil || asked != hwSeedSize {
		t.Fatal(asked, err)
	}
	lines := 0
	c = &proto.Client{S: senderFunc(func(proto.Request) (proto.Result, []byte, error) { return proto.Fail, nil, nil })}
	if _, err := io.ReadFull(NewEntropy(c, func(string, ...any) { lines++ }), b); err != nil || lines != 1 {
		t.Fatal(lines, err)
	}
}
