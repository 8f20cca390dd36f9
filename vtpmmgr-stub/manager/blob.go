package manager

import (
	"encoding/binary"
	"fmt"

	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// A blob is a value longer than one entry holds, kept in up to maxChunks entries
// of consecutive kinds: the first begins with the length of the whole.
const (
	kindBlob  = 0x80 // kindBlob+n: chunk n of a group
	maxChunks = 16
	chunkSize = store.MaxValue
	maxBlob   = maxChunks*chunkSize - 4
)

// putBlob replaces a blob.
func (m *Manager) putBlob(id proto.UUID, data []byte) error {
	if len(data) > maxBlob {
		return fmt.Errorf("%w: %d bytes", store.ErrTooBig, len(data))
	}
	rest := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
	for n := range maxChunks {
		key := store.MakeKey(kindBlob+byte(n), id)
		if len(rest) == 0 {
			if err := m.store.Delete(key); err != nil {
				return err
			}
			continue
		}
		part := rest[:min(len(rest), chunkSize)]
		if err := m.store.Put(key, part); err != nil {
			return err
		}
		rest = rest[len(part):]
	}
	return nil
}

// getBlob returns nil if there is none.
func (m *Manager) getBlob(id proto.UUID) ([]byte, error) {
	first, err := m.store.Get(store.MakeKey(kindBlob, id))
	if err != nil || first == nil {
		return nil, err
	}
	r := proto.NewReader(first)
	size := int(r.U32())
	out := append([]byte(nil), r.Bytes(r.Len())...)
	if r.Done() != nil || size > maxBlob {
		return nil, fmt.Errorf("group %v: entry malformed", id)
	}
	for n := 1; len(out) < size && n < maxChunks; n++ {
		part, err := m.store.Get(store.MakeKey(kindBlob+byte(n), id))
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	if len(out) != size {
		return nil, fmt.Errorf("group %v: entry incomplete", id)
	}
	return out, nil
}

func (m *Manager) deleteBlob(id proto.UUID) error {
	for n := range maxChunks {
		if err := m.store.Delete(store.MakeKey(kindBlob+byte(n), id)); err != nil {
			return err
		}
	}
	return nil
}
