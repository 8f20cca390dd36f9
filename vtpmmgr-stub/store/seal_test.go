package store

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The vectors of C2SP XAES-256-GCM, reordered to this package's nonce | tag | text.
func TestXAESVectors(t *testing.T) {
	for _, v := range []struct {
		key      byte
		aad, out string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
		b, err := NewBox(bytes.Repeat([]byte{v.key}, 32), bytes.NewReader(nonce))
		if err != nil {
			t.Fatal(err)
		}
		plain := []byte("XAES-256-GCM")
		box, err := b.Seal(nil, plain, []byte(v.aad))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := hex.DecodeString(v.out)
		got := append(bytes.Clone(box[sealOver:]), box[nonceSize:sealOver]...)
		if !bytes.Equal(got, want) {
			t.Errorf("key %d: got %x, want %x", v.key, got, want)
		}
		if p, err := b.Open(nil, box, []byte(v.aad)); err != nil || !bytes.Equal(p, plain) {
			t.Errorf("key %d: open: %q %v", v.key, p, err)
		}
		for i := range box {
			box[i] ^= 1
			if _, err := b.Open(nil, box, []byte(v.aad)); err == nil {
				t.Errorf("byte %d flipped and still opens", i)
			}
			box[i] ^= 1
		}
	}
}
