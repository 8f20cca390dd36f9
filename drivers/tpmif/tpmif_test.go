package tpmif

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"runtime"
	"testing"

	"xenvtpm/board/xen/shm"
	"xenvtpm/drivers/tpmwire"
)

// put writes a request the way a hostile frontend would: any header, any bytes.
func put(p *shm.Page, h header, packet []byte) {
	p.CopyIn(h.offset(), packet)
	p.Store64(0, uint64(h.length)|uint64(h.state)<<32|uint64(h.locality)<<40|uint64(h.pad)<<48|uint64(h.extra)<<56)
}

// answer reads what stands in the page as a response to a request with n extra
// pages.
func answer(p *shm.Page, extra uint8) (State, []byte) {
	h := fetch(p)
	h.extra = extra
	b := make([]byte, min(int(h.length), h.room()))
	p.CopyOut(b, h.offset())
	return h.state, b
}

func packet(tag tpmwire.Tag, size, length int) []byte {
	b := tpmwire.Header{Tag: tag, Size: uint32(size), Code: 0x17B}.Append(nil)
	for len(b) < length {
		b = append(b, byte(len(b)))
	}
	return b[:length]
}

func TestBadRequests(t *testing.T) {
	const sub = Submit
	ten := packet(0x8001, 10, 10)
	tests := []struct {
		name   string
		h      header
		packet []byte
		want   string // response, hex
	}{
		{"length 0", header{length: 0, state: sub}, ten, "80010000000a00000142"},
		{"length 1", header{length: 1, state: sub}, packet(0xC1, 10, 10), "80010000000a00000142"},
		{"length 9", header{length: 9, state: sub}, ten, "80010000000a00000142"},
		{"length 9, TPM 1.2", header{length: 9, state: sub}, packet(0xC1, 10, 10), "00c40000000a00000019"},
		{"length 4089", header{length: 4089, state: sub}, packet(0x8002, 4089, 10), "80010000000a00000142"},
		{"length 4089, manager", header{length: 4089, state: sub}, packet(0x1C1, 4089, 10), "01c40000000a00000019"},
		{"length 2^32-1", header{length: 1<<32 - 1, state: sub}, packet(0x8001, 1<<32-1, 10), "80010000000a00000142"},
		{"length 2^32-8 wraps in 32 bits", header{length: 1<<32 - 8, state: sub}, ten, "80010000000a00000142"},
		{"header says less", header{length: 12, state: sub}, packet(0x8001, 10, 12), "80010000000a00000142"},
		{"header says more", header{length: 12, state: sub}, packet(0xC1, 13, 12), "00c40000000a00000019"},
		{"header says 0", header{length: 10, state: sub}, packet(0x8001, 0, 10), "80010000000a00000142"},
		{"unknown tag and size", header{length: 12, state: sub}, packet(0x1234, 10, 12), "00c40000000a0000001e"},
		{"255 extra pages", header{length: 10, state: sub, extra: 255}, ten, "80010000000a00000142"},
		{"9 extra pages", header{length: 10, state: sub, extra: 9}, ten, "80010000000a00000142"},
		{"extra pages push the packet out", header{length: 4088, state: sub, extra: 8}, packet(0x8001, 4088, 4056), "80010000000a00000142"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := shm.New()
			b := NewBackend(p)
			put(p, tt.h, tt.packet)
			req, out, err := b.Poll()
			if out != Refused || err == nil || req.Command != nil || b.Open() {
				t.Fatalf("got %v, %v, %v", req, out, err)
			}
			s, rsp := answer(p, tt.h.extra)
			if s != Finish || hex.EncodeToString(rsp) != tt.want {
				t.Fatalf("answer %v %x, want %s", s, rsp, tt.want)
			}
			// The service goes on for the same frontend.
			put(p, header{length: 10, state: sub, locality: 3}, ten)
			req, out, err = b.Poll()
			if out != Ready || err != nil || req.Locality != 3 || !bytes.Equal(req.Command, ten) {
				t.Fatalf("next request: %v, %v, %v", req, out, err)
			}
		})
	}
}

func TestGoodRequests(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length int
		extra  uint8
	}{
		{"smallest", 10, 0}, {"largest", MaxPacket, 0}, {"odd", 13, 0},
		{"with extra pages", 100, 8}, {"fills the page behind them", MaxPacket - 32, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := shm.New()
			b := NewBackend(p)
			cmd := packet(0x8001, tt.length, tt.length)
			put(p, header{length: uint32(tt.length), state: Submit, locality: 2, extra: tt.extra}, cmd)
			req, out, err := b.Poll()
			if out != Ready || err != nil || !bytes.Equal(req.Command, cmd) || req.Locality != 2 {
				t.Fatalf("%v %v", out, err)
			}
			// Whatever the page says from now on, the copy and the place of the
			// answer are fixed.
			put(p, header{length: 1 << 31, state: Submit, extra: 255}, packet(0xffff, 1, 10))
			if _, again, err := b.Poll(); again != Nothing || err != nil {
				t.Fatalf("second Poll of an open request: %v %v", again, err)
			}
			if !bytes.Equal(req.Command, cmd) {
				t.Fatal("the command changed after it was taken")
			}
			rsp := packet(0x8001, 20, 20)
			if err := b.Respond(rsp); err != nil {
				t.Fatal(err)
			}
			if s, got := answer(p, tt.extra); s != Finish || !bytes.Equal(got, rsp) {
				t.Fatalf("answer %v %x", s, got)
			}
			if err := b.Respond(rsp); !errors.Is(err, ErrNotOpen) {
				t.Fatalf("second Respond: %v", err)
			}
		})
	}
}

func TestResponseSizes(t *testing.T) {
	for _, tt := range []struct {
		n   int
		err error
	}{{0, ErrTooLarge}, {9, ErrTooLarge}, {10, nil}, {MaxPacket, nil}, {MaxPacket + 1, ErrTooLarge}, {8192, ErrTooLarge}} {
		p := shm.New()
		b := NewBackend(p)
		put(p, header{length: 10, state: Submit}, packet(0xC2, 10, 10))
		if _, out, _ := b.Poll(); out != Ready {
			t.Fatal(out)
		}
		if err := b.Respond(make([]byte, tt.n)); !errors.Is(err, tt.err) {
			t.Fatalf("%d bytes: %v, want %v", tt.n, err, tt.err)
		}
		s, rsp := answer(p, 0)
		if s != Finish || tt.err != nil && hex.EncodeToString(rsp) != "00c40000000a00000009" {
			t.Fatalf("%d bytes: answer %v %x", tt.n, s, rsp)
		}
	}
}

// TestStates meets every state byte with and without an open request.
func TestStates(t *testing.T) {
	for s := 0; s < 256; s++ {
		p := shm.New()
		b := NewBackend(p)
		put(p, header{length: 10, state: State(s)}, packet(0x8001, 10, 10))
		_, out, err := b.Poll()
		want := map[State]Outcome{Submit: Ready, Cancel: Cancelled}[State(s)]
		if out != want || err != nil {
			t.Fatalf("state %d: %v, %v", s, out, err)
		}
		if State(s) == Cancel && State(p.Load8(offState)) != Idle {
			t.Fatal("a cancel without a request did not end in idle")
		}
		b = NewBackend(p)
		put(p, header{length: 10, state: Submit}, packet(0x8001, 10, 10))
		b.Poll()
		p.Store8(offState, uint8(s))
		if b.CancelWanted() != (State(s) == Cancel) {
			t.Fatalf("state %d: CancelWanted %t", s, b.CancelWanted())
		}
		if err := b.Respond(packet(0x8001, 10, 10)); err != nil || State(p.Load8(offState)) != Finish {
			t.Fatalf("state %d: not finished: %v", s, err)
		}
	}
}

func TestLostPage(t *testing.T) {
	p := shm.New()
	b := NewBackend(p)
	put(p, header{length: 10, state: Submit}, packet(0x8001, 10, 10))
	if _, out, _ := b.Poll(); out != Ready {
		t.Fatal(out)
	}
	p.Detach()
	if b.CancelWanted() {
		t.Fatal("a lost page asks for a cancel")
	}
	if err := b.Respond(packet(0x8001, 10, 10)); err != nil {
		t.Fatal(err)
	}
	p.Detach()
	if _, _, err := b.Poll(); !errors.Is(err, ErrLost) {
		t.Fatalf("got %v", err)
	}
}

func TestCancelAndDrop(t *testing.T) {
	p := shm.New()
	b, f := NewBackend(p), NewFrontend(p)
	cmd := packet(0x8001, 10, 10)
	f.Cancel() // nothing sent: must not touch the page
	if err := f.Submit(0, cmd); err != nil {
		t.Fatal(err)
	}
	if err := f.Submit(0, cmd); !errors.Is(err, ErrBusy) {
		t.Fatalf("second Submit: %v", err)
	}
	b.Poll()
	f.Cancel()
	if !b.CancelWanted() {
		t.Fatal("cancel not seen")
	}
	if err := b.Drop(); err != nil {
		t.Fatal(err)
	}
	if _, done, err := f.Poll(); !done || !errors.Is(err, ErrCancelled) {
		t.Fatalf("%t %v", done, err)
	}
	if err := b.Drop(); !errors.Is(err, ErrNotOpen) {
		t.Fatalf("second Drop: %v", err)
	}
	// A command that finishes in spite of the cancel.
	if err := f.Submit(0, cmd); err != nil {
		t.Fatal(err)
	}
	b.Poll()
	f.Cancel()
	if err := b.Respond(cmd); err != nil {
		t.Fatal(err)
	}
	if rsp, done, err := f.Poll(); !done || err != nil || !bytes.Equal(rsp, cmd) {
		t.Fatalf("%x %t %v", rsp, done, err)
	}
}

func TestHostileBackend(t *testing.T) {
	good := packet(0x8001, 10, 10)
	for _, tt := range []struct {
		name   string
		h      header
		packet []byte
		err    error
	}{
		{"length 0", header{length: 0, state: Finish}, good, ErrResponse},
		{"length 9", header{length: 9, state: Finish}, good, ErrResponse},
		{"length 4089", header{length: 4089, state: Finish}, good, ErrResponse},
		{"length 2^32-1", header{length: 1<<32 - 1, state: Finish}, good, ErrResponse},
		{"size mismatch", header{length: 12, state: Finish}, packet(0x8001, 10, 12), ErrResponse},
		{"dropped", header{length: 10, state: Idle}, good, ErrCancelled},
		{"good", header{length: 10, state: Finish}, good, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := shm.New()
			f := NewFrontend(p)
			if err := f.Submit(1, good); err != nil {
				t.Fatal(err)
			}
			put(p, tt.h, tt.packet)
			if _, done, err := f.Poll(); !done || !errors.Is(err, tt.err) {
				t.Fatalf("%t %v", done, err)
			}
			if err := f.Submit(1, good); err != nil {
				t.Fatalf("next command: %v", err)
			}
		})
	}
	f := NewFrontend(shm.New())
	for _, cmd := range [][]byte{nil, make([]byte, 9), packet(0x8001, 11, 10), packet(0x8001, 4089, 4089)} {
		if err := f.Submit(0, cmd); !errors.Is(err, ErrPacket) {
			t.Fatalf("%d bytes: %v", len(cmd), err)
		}
	}
}

// TestPingPong runs both ends at the same time over one page.
func TestPingPong(t *testing.T) {
	const rounds = 3000
	p := shm.New()
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := NewBackend(p)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if req, out, _ := b.Poll(); out == Ready {
				rsp := append([]byte{}, req.Command...)
				_ = b.Respond(rsp) // the frontend checks it
			}
			runtime.Gosched()
		}
	}()
	f := NewFrontend(p)
	for i := 0; i < rounds; i++ {
		n := 14 + i%2000
		cmd := packet(0x8001, n, n)
		binary.BigEndian.PutUint32(cmd[10:], uint32(i))
		if err := f.Submit(uint8(i), cmd); err != nil {
			t.Fatal(err)
		}
		for {
			rsp, end, err := f.Poll()
			if err != nil || end && !bytes.Equal(rsp, cmd) {
				t.Fatalf("round %d: %v", i, err)
			}
			if end {
				break
			}
			runtime.Gosched()
		}
	}
	close(stop)
	<-done
}

// FuzzPage gives both ends a page full of foreign bytes.
func FuzzPage(f *testing.F) {
	for _, s := range []string{
		"0a0000000100000080010000000a0000017b",
		"00000000010000ff", "f90f0000010000008001", "ffffffff01000000", "ffffffffffffffff",
		"0a0000000300000080010000000a0000017b", "0a000000010300080000000000000000",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte("0123456789"))
	}
	f.Fuzz(func(t *testing.T, mem, rsp []byte) {
		p := shm.New()
		p.CopyIn(0, mem[:min(len(mem), shm.PageSize)])
		extra := p.Load8(offExtra)
		b := NewBackend(p)
		req, out, err := b.Poll()
		switch out {
		case Ready:
			if h, err := tpmwire.ParsePacket(req.Command); err != nil || int(h.Size) > MaxPacket {
				t.Fatalf("took %+v, %v", h, err)
			}
			_ = b.Respond(rsp) // either is fine; the page is checked below
		case Refused:
			if err == nil {
				t.Fatal("refused without a reason")
			}
		default:
			return
		}
		if s, got := answer(p, extra); s != Finish || len(got) < tpmwire.HeaderSize {
			t.Fatalf("answer %v %x", s, got)
		}
		fe := NewFrontend(p)
		fe.sent = true
		if got, done, err := fe.Poll(); !done || err == nil && len(got) < tpmwire.HeaderSize {
			t.Fatalf("frontend: %x %t %v", got, done, err)
		}
	})
}

// A backend that lets go of the page ends what stands there, and nothing else.
func TestAbandon(t *testing.T) {
	for _, tt := range []struct {
		state State
		taken bool
		want  bool
		end   State
	}{
		{Idle, false, false, Idle}, {Submit, false, true, Idle}, {Submit, true, true, Idle},
		{Finish, false, false, Finish}, {Cancel, false, true, Idle}, {0x77, false, false, 0x77},
	} {
		p := shm.New()
		b := NewBackend(p)
		put(p, header{length: 10, state: tt.state}, packet(0x8001, 10, 10))
		if tt.taken {
			if _, out, _ := b.Poll(); out != Ready {
				t.Fatal(out)
			}
		}
		if got := b.Abandon(); got != tt.want || State(p.Load8(offState)) != tt.end || b.Open() {
			t.Fatalf("%v: %t, page in %v", tt.state, got, State(p.Load8(offState)))
		}
		if err := b.Respond(packet(0x8001, 10, 10)); !errors.Is(err, ErrNotOpen) {
			t.Fatalf("%v: Respond after Abandon: %v", tt.state, err)
		}
	}
	p := shm.New()
	b := NewBackend(p)
	p.Detach()
	if b.Abandon() {
		t.Fatal("something to tell the peer of a lost page")
	}
}
