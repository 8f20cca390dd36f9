package xenstore

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzParser(f *testing.F) {
	ok := Packet{Type: 2, ReqID: 7, TxID: 9, Payload: []byte("value")}.Append(nil)
	f.Add(ok, 1)
	f.Add(append(ok, ok...), 5)
	f.Add(Packet{Type: 15, Payload: []byte("a\x00b\x00")}.Append(nil), 16)
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"), 3)
	f.Add(make([]byte, 64), 64)
	f.Fuzz(func(t *testing.T, stream []byte, step int) {
		if step < 1 || step > len(stream) {
			step = len(stream)
		}
		whole, errWhole := parseAll(stream, len(stream))
		pieces, errPieces := parseAll(stream, step)
		if errors.Is(errWhole, ErrCorrupt) != errors.Is(errPieces, ErrCorrupt) || (errWhole == nil) != (errPieces == nil) {
			t.Fatalf("%v in one go, %v in steps of %d", errWhole, errPieces, step)
		}
		if len(whole) != len(pieces) {
			t.Fatalf("%d packets in one go, %d in steps", len(whole), len(pieces))
		}
		var again []byte
		for i := range whole {
			if len(whole[i].Payload) > 4096 {
				t.Fatalf("payload of %d bytes", len(whole[i].Payload))
			}
			if !bytes.Equal(whole[i].Append(nil), pieces[i].Append(nil)) {
				t.Fatalf("packet %d differs", i)
			}
			again = whole[i].Append(again)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatal("encoding what was decoded gives other bytes")
		}
	})
}

func parseAll(stream []byte, step int) (list []Packet, err error) {
	var p Parser
	for len(stream) > 0 {
		piece := stream[:min(step, len(stream))]
		stream = stream[len(piece):]
		for len(piece) > 0 {
			n, pkt, ok, err := p.Feed(piece)
			if err != nil {
				return list, err
			}
			if ok {
				list = append(list, pkt)
			}
			piece = piece[n:]
		}
	}
	return list, nil
}

func TestCheckPath(t *testing.T) {
	long := "/" + string(bytes.Repeat([]byte("a"), 3071))
	for path, good := range map[string]bool{
		"/": true, "/local/domain/0": true, "device/vtpm/0": true, "a": true, "/a-b_c@D9": true,
		long: true, long + "b": false, long[1:2049]: true, long[1:2050]: false,
		"": false, "/a/": false, "//": false, "/a//b": false, "a\x00": false, "/a b": false, "/ä": false, "/a\nb": false,
	} {
		if err := CheckPath(path); (err == nil) != good || err != nil && !errors.Is(err, ErrInvalidPath) {
			t.Errorf("%.40q: %v", path, err)
		}
	}
	for path, good := range map[string]bool{
		"@releaseDomain": true, "@introduceDomain": true, "@": false, "@a/b": false, "backend/vtpm": true, "@a b": false,
	} {
		if err := checkWatchPath(path); (err == nil) != good {
			t.Errorf("watch %q: %v", path, err)
		}
	}
}

func TestParsePerm(t *testing.T) {
	for _, s := range []string{"n0", "r1", "w2", "b32767"} {
		p, err := ParsePerm(s)
		if err != nil || p.String() != s {
			t.Errorf("%s: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "r", "x1", "r-1", "r99999", "r1x", "rr1"} {
		if _, err := ParsePerm(s); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", s, err)
		}
	}
}
