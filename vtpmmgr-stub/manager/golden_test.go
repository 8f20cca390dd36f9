package manager

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// golden is a disk that an older version wrote, with the hardware TPM of then.
func golden(t *testing.T, name string) (*simDisk, *fakeTPM, proto.UUID) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	id, err := proto.ParseUUID("29430c90-d748-402c-bc57-cdedd63731cd")
	if err != nil {
		t.Fatal(err)
	}
	hw := &fakeTPM{counter: 46, defined: true, anchor: hwtpm.Anchor{State: hwtpm.AnchorActive, Manager: id}}
	for i := range hw.seed {
		hw.seed[i] = 7
	}
	hw.auth, _ = hex.DecodeString("968404de052ad574d8848631baa053bcc23a895789b60990dd0a5f1763a5d150")
	return diskOf(b), hw, id
}

// A store of the first version opens when its operator says that it is to be
// adopted, and has all that was in it; without that it is refused and not touched.
func TestGoldenStore(t *testing.T) {
	d, hw, id := golden(t, "store-v1.gz")
	before := bytes.Clone(d.live)
	if _, err := New(config(t, d, hw)); !errors.Is(err, ErrUnproven) {
		t.Fatalf("without adopt=: %v", err)
	}
	if !bytes.Equal(d.live, before) {
		t.Error("a refused store was written to")
	}
	c := config(t, d, hw)
	c.Adopt = id
	for _, conf := range []Config{c, config(t, d, hw)} {
		m := start(t, conf)
		for n := range 3 {
			if r, err := vtpmClient(m, n).LoadHashKey(); err != nil || r != record(n) {
				t.Errorf("vTPM %d: %v", n, err)
			}
		}
	}
}
