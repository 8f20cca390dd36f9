package statefile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Linear keeps both kinds of state in one file or block device. It has two
// slots of slotSize bytes; a save writes the older one and syncs, so that a
// cut leaves the newer one whole. Each slot: 8 bytes magic, u64 generation,
// u32 length of the permanent and of the volatile envelope, both envelopes,
// 32 bytes SHA-256 of all before it.
type Linear struct {
	f       *os.File
	key     *Key
	noFsync bool
	gen     uint64
	env     map[Kind][]byte
}

const (
	linearMagic  = "vTPMslot"
	linearHeader = 24
	slotSize     = 1 << 20
)

// OpenLinear opens and locks the file; a file that does not exist is made.
func OpenLinear(path string, opt Options, retry time.Duration) (*Linear, error) {
	if opt.Mode == 0 {
		opt.Mode = 0o640
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, opt.Mode)
	if err != nil {
		return nil, fmt.Errorf("open the state file: %w", err)
	}
	l := &Linear{f: f, key: opt.Key, noFsync: opt.NoFsync, env: map[Kind][]byte{}}
	if err := l.Lock(retry); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := l.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return l, nil
}

// Lock takes the lock on the file.
func (l *Linear) Lock(retry time.Duration) error {
	for end := time.Now().Add(retry); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(l.f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", l.f.Name(), err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %w", l.f.Name(), ErrLocked)
		}
	}
}

// Unlock lets another process take the state over.
func (l *Linear) Unlock() error { return syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN) }

// Close releases the file.
func (l *Linear) Close() error { return l.f.Close() }

// read loads the newest whole slot. A file that is not blank and has none is
// an error: it is somebody else's, or damaged.
func (l *Linear) read() error {
	blank := true
	found := false
	for slot := range int64(2) {
		b := make([]byte, slotSize)
		n, err := l.f.ReadAt(b, slot*slotSize)
		if n == 0 && err != nil {
			continue
		}
		for _, c := range b[:n] {
			if c != 0 {
				blank = false
				break
			}
		}
		if gen, env, ok := parseSlot(b[:n]); ok && (!found || gen > l.gen) {
			l.gen, l.env, found = gen, env, true
		}
	}
	if !found && !blank {
		return fmt.Errorf("neither slot is whole: %w", ErrDamaged)
	}
	return nil
}

func parseSlot(b []byte) (uint64, map[Kind][]byte, bool) {
	if len(b) < linearHeader+sha256.Size || string(b[:8]) != linearMagic {
		return 0, nil, false
	}
	perm, vol := uint64(binary.BigEndian.Uint32(b[16:])), uint64(binary.BigEndian.Uint32(b[20:]))
	end := linearHeader + perm + vol
	if end+sha256.Size > uint64(len(b)) {
		return 0, nil, false
	}
	if sum := sha256.Sum256(b[:end]); string(sum[:]) != string(b[end:end+sha256.Size]) {
		return 0, nil, false
	}
	env := map[Kind][]byte{}
	if perm > 0 {
		env[Permanent] = b[linearHeader : linearHeader+perm]
	}
	if vol > 0 {
		env[Volatile] = b[linearHeader+perm : end]
	}
	return binary.BigEndian.Uint64(b[8:]), env, true
}

func encodeSlot(gen uint64, env map[Kind][]byte) []byte {
	b := append([]byte(linearMagic), make([]byte, 16)...)
	binary.BigEndian.PutUint64(b[8:], gen)
	binary.BigEndian.PutUint32(b[16:], uint32(len(env[Permanent])))
	binary.BigEndian.PutUint32(b[20:], uint32(len(env[Volatile])))
	b = append(append(b, env[Permanent]...), env[Volatile]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Load returns the payload of a kind, or an error that wraps fs.ErrNotExist.
func (l *Linear) Load(k Kind) ([]byte, error) {
	env, ok := l.env[k]
	if !ok {
		return nil, fmt.Errorf("%s holds no %v state: %w", l.f.Name(), k, fs.ErrNotExist)
	}
	p, err := Unseal(k, env, l.key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.f.Name(), err)
	}
	return p, nil
}

// Store replaces the payload of a kind.
func (l *Linear) Store(k Kind, payload []byte) error {
	env, err := Seal(k, payload, l.key)
	if err != nil {
		return err
	}
	return l.write(k, env)
}

// Delete removes a kind.
func (l *Linear) Delete(k Kind) error {
	if _, ok := l.env[k]; !ok {
		return nil
	}
	return l.write(k, nil)
}

func (l *Linear) write(k Kind, env []byte) error {
	next := map[Kind][]byte{Permanent: l.env[Permanent], Volatile: l.env[Volatile]}
	next[k] = env
	slot := encodeSlot(l.gen+1, next)
	if len(slot) > slotSize {
		return fmt.Errorf("%s: state of %d bytes, a slot holds %d", l.f.Name(), len(slot), slotSize)
	}
	if _, err := l.f.WriteAt(slot, int64((l.gen+1)%2)*slotSize); err != nil {
		return fmt.Errorf("write the %v state: %w", k, err)
	}
	if !l.noFsync {
		if err := l.f.Sync(); err != nil {
			return fmt.Errorf("sync the %v state: %w", k, err)
		}
	}
	l.gen++
	for kind, e := range next {
		if len(e) == 0 {
			delete(next, kind)
		}
	}
	l.env = next
	return nil
}

// Sizes lists the kinds that are there with the sizes of their envelopes.
func (l *Linear) Sizes() map[Kind]int64 {
	m := map[Kind]int64{}
	for k, e := range l.env {
		m[k] = int64(len(e))
	}
	return m
}
