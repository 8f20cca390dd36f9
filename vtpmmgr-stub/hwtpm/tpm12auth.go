package hwtpm

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"xenvtpm/vtpmmgr-stub/proto"
)

// TPM 1.2 commands that go-tpm's package tpm does not have (monotonic counters)
// or does not get right with an owner's authorisation (NV), by TPM Main Part 3
// (TPM12-P3), level 2, revision 116.

const (
	ord12OIAP           = 10
	ord12OSAP           = 11
	ord12GetCapability  = 101
	ord12SelfTest       = 83 // ContinueSelfTest
	ord12Startup        = 153
	ord12FlushSpecific  = 186
	ord12NVDefine       = 204
	ord12NVWrite        = 205
	ord12NVRead         = 207
	ord12CreateCounter  = 220
	ord12Increment      = 221
	ord12ReadCounter    = 222
	ord12ReleaseCounter = 224 // ...Owner
)

// code12 is a TPM 1.2 return code.
type code12 uint32

const (
	rc12AuthFail       code12 = 1
	rc12BadIndex       code12 = 2
	rc12Deactivated    code12 = 6
	rc12Disabled       code12 = 7
	rc12NoSpace        code12 = 17
	rc12NoSRK          code12 = 18
	rc12OwnerSet       code12 = 20
	rc12WrongPCR       code12 = 24
	rc12FailedSelfTest code12 = 28
	rc12Auth2Fail      code12 = 29
	rc12InvalidPostNit code12 = 38
	rc12BadCounter     code12 = 69
	rc12Retry          code12 = 0x800
	rc12NeedsSelfTest  code12 = 0x801
	rc12DoingSelfTest  code12 = 0x802
	rc12DefendLock     code12 = 0x803
)

func (c code12) Error() string { return fmt.Sprintf("TPM 1.2 error %d", uint32(c)) }

// bus12 carries TPM 1.2 commands. It is go-tpm's io.ReadWriter, too, and
// remembers return codes, which go-tpm's errors do not give away.
type bus12 struct {
	t     interface{ Send([]byte) ([]byte, error) }
	sleep func(time.Duration)
	rsp   []byte
	last  code12 // of the last command
	first code12 // the first failure since begin: go-tpm closes sessions after it
}

// begin starts an operation of several commands.
func (b *bus12) begin() *bus12 {
	b.first = 0
	return b
}

func (b *bus12) send(cmd []byte) ([]byte, error) {
	delay := time.Millisecond
	for range maxRetries {
		rsp, err := b.t.Send(cmd)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrNoTPM, err)
		}
		if len(rsp) < 10 || uint64(binary.BigEndian.Uint32(rsp[2:])) != uint64(len(rsp)) {
			return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(rsp))
		}
		b.last = code12(binary.BigEndian.Uint32(rsp[6:]))
		switch b.last {
		case rc12NeedsSelfTest, rc12Retry, rc12DoingSelfTest:
			if b.last == rc12NeedsSelfTest {
				if _, err := b.t.Send(frame12(0x00C1, ord12SelfTest, nil)); err != nil {
					return nil, fmt.Errorf("%w: %v", ErrNoTPM, err)
				}
			}
			b.sleep(delay)
			delay = min(delay*2, 100*time.Millisecond)
		default:
			if b.first == 0 {
				b.first = b.last
			}
			return rsp, nil
		}
	}
	return nil, ErrBusy
}

// Write and Read are one exchange.
func (b *bus12) Write(cmd []byte) (n int, err error) {
	if b.rsp, err = b.send(cmd); err != nil {
		return 0, err
	}
	return len(cmd), nil
}

func (b *bus12) Read(p []byte) (int, error) {
	n := copy(p, b.rsp)
	b.rsp = b.rsp[n:]
	return n, nil
}

func frame12(tag uint16, ord uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, tag)
	b = binary.BigEndian.AppendUint32(b, uint32(10+len(body)))
	return append(binary.BigEndian.AppendUint32(b, ord), body...)
}

// plain runs a command without authorisation.
func (b *bus12) plain(ord uint32, body []byte) ([]byte, error) {
	rsp, err := b.send(frame12(0x00C1, ord, body))
	if err != nil {
		return nil, err
	}
	if b.last != 0 {
		return nil, b.last
	}
	return rsp[10:], nil
}

// session12 is an authorisation session for one command.
type session12 struct {
	handle    [4]byte
	nonceEven [20]byte
	key       []byte
}

func (b *bus12) oiap(secret []byte) (*session12, error) {
	rsp, err := b.plain(ord12OIAP, nil)
	if err != nil {
		return nil, err
	}
	r := proto.NewReader(rsp)
	s := &session12{key: secret}
	copy(s.handle[:], r.Bytes(4))
	copy(s.nonceEven[:], r.Bytes(20))
	if r.Done() != nil {
		return nil, fmt.Errorf("%w: OIAP", ErrMalformed)
	}
	return s, nil
}

// osapOwner opens a session that proves the owner's secret; its key encrypts new
// authorisations (TPM12-P1 13.3).
func (b *bus12) osapOwner(secret []byte) (*session12, error) {
	body := make([]byte, 6, 26)
	binary.BigEndian.PutUint16(body, 0x0002)      // TPM_ET_OWNER
	binary.BigEndian.PutUint32(body[2:], 1|1<<30) // TPM_KH_OWNER
	odd := make([]byte, 20)
	if _, err := rand.Read(odd); err != nil {
		return nil, err
	}
	rsp, err := b.plain(ord12OSAP, append(body, odd...))
	if err != nil {
		return nil, err
	}
	r := proto.NewReader(rsp)
	s := &session12{}
	copy(s.handle[:], r.Bytes(4))
	copy(s.nonceEven[:], r.Bytes(20))
	even := r.Bytes(20)
	if r.Done() != nil {
		return nil, fmt.Errorf("%w: OSAP", ErrMalformed)
	}
	s.key = mac1(secret, even, odd)
	return s, nil
}

// encAuth encrypts a new authorisation (TPM12-P1 13.4: XOR).
func (s *session12) encAuth(auth []byte) []byte {
	pad := sha1.Sum(append(append([]byte(nil), s.key...), s.nonceEven[:]...))
	subtle.XORBytes(pad[:], pad[:], auth)
	return pad[:]
}

func mac1(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha1.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func sum1(parts ...[]byte) []byte {
	h := sha1.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// auth1 runs a command with one authorisation, all of whose parameters go into
// it, and checks the answer's (TPM12-P1 13.2).
func (b *bus12) auth1(s *session12, ord uint32, params []byte) ([]byte, error) {
	odd := make([]byte, 20)
	if _, err := rand.Read(odd); err != nil {
		return nil, err
	}
	ordBytes, cont := binary.BigEndian.AppendUint32(nil, ord), []byte{0}
	body := append(append([]byte(nil), params...), s.handle[:]...)
	body = append(append(body, odd...), cont...)
	body = append(body, mac1(s.key, sum1(ordBytes, params), s.nonceEven[:], odd, cont)...)
	rsp, err := b.send(frame12(0x00C2, ord, body))
	if err != nil {
		return nil, err
	}
	if b.last != 0 {
		return nil, b.last
	}
	if len(rsp) < 10+41 {
		return nil, fmt.Errorf("%w: no authorisation in the answer", ErrMalformed)
	}
	out, tail := rsp[10:len(rsp)-41], rsp[len(rsp)-41:]
	want := mac1(s.key, sum1(rsp[6:10], ordBytes, out), tail[:20], odd, tail[20:21])
	if !hmac.Equal(want, tail[21:]) {
		return nil, fmt.Errorf("%w: the answer's authorisation is wrong", ErrMalformed)
	}
	return out, nil
}

// classify12 names errors that mean the same whatever the command was. code is
// the TPM's return code, err what the caller was told.
func classify12(what string, code code12, err error) error {
	for _, known := range []error{ErrNoTPM, ErrMalformed, ErrBusy} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	names := map[code12]error{rc12AuthFail: ErrOwned, rc12Auth2Fail: ErrOwned, rc12NoSRK: ErrOwned, rc12OwnerSet: ErrOwned,
		rc12FailedSelfTest: ErrFailureMode, rc12DefendLock: ErrLockout, rc12NoSpace: ErrNoSpace, rc12WrongPCR: ErrPCRMismatch,
		rc12BadCounter: ErrCounterMissing, rc12Disabled: ErrInactive, rc12Deactivated: ErrInactive}
	if name, ok := names[code]; ok {
		return fmt.Errorf("%s: %w (%v)", what, name, code)
	}
	return fmt.Errorf("%s: %w (code %d)", what, err, uint32(code))
}
