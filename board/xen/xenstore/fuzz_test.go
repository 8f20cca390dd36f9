package xenstore

import (
	"testing"
	"time"
)

// scripted is a Transport whose server says whatever the fuzzer likes, in
// pieces, and takes what is sent at whatever rate.
type scripted struct {
	in    []byte
	piece int
	now   int64
	turns int
}

func (s *scripted) Send(p []byte) (int, error) { return min(len(p), s.piece), nil }

func (s *scripted) Receive(p []byte) (int, error) {
	n := copy(p[:min(len(p), s.piece)], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *scripted) Wait(deadline int64, _ bool) { s.turns++; s.now = deadline }
func (s *scripted) Rearm()                      {}
func (s *scripted) Nudge() error                { return nil }
func (s *scripted) Now() int64                  { s.now++; return s.now }

// FuzzHostileServer: whatever bytes come, every call ends in time, nothing
// panics, callbacks run only in Dispatch, and names handed on are sound.
func FuzzHostileServer(f *testing.F) {
	watched := Packet{Type: 4, ReqID: 1, Payload: []byte("OK\x00")}.Append(nil)
	event := Packet{Type: 15, Payload: []byte("backend/vtpm/3/0\x001\x00")}.Append(nil)
	list := Packet{Type: 1, ReqID: 2, Payload: []byte("a\x00b\x00")}.Append(nil)
	tx := Packet{Type: 6, ReqID: 3, Payload: []byte("7\x00")}.Append(nil)
	f.Add(append(append(append(append([]byte(nil), watched...), event...), list...), tx...), 100)
	f.Add(append(append([]byte(nil), event...), Packet{Type: 16, ReqID: 1, Payload: []byte("EAGAIN\x00")}.Append(nil)...), 7)
	f.Add(Packet{Type: 22, ReqID: 2, Payload: []byte("9\x00a\x00\x00")}.Append(watched), 3)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		if piece < 1 || piece > 1024 {
			piece = 1024
		}
		s := &scripted{in: stream, piece: piece}
		c := New(Config{Transport: s, Timeout: time.Second})
		inDispatch := false
		dispatch := func() {
			inDispatch = true
			_ = c.Dispatch() // an error is allowed
			inDispatch = false
		}
		w, err := c.Watch("backend/vtpm", func(string) {
			if !inDispatch {
				t.Fatal("callback outside Dispatch")
			}
			_, _ = c.Read("backend/vtpm/state")
		})
		names, _ := c.Directory("backend/vtpm")
		for _, n := range names {
			if CheckPath("backend/vtpm/"+n) != nil {
				t.Fatalf("child %q", n)
			}
		}
		dispatch()
		_ = c.Transaction(func(tx *Tx) error { return tx.Write("x", "y") })
		perms, _ := c.GetPerms("x")
		for _, p := range perms {
			if q, err := ParsePerm(p.String()); err != nil || q != p {
				t.Fatalf("permission %v", p)
			}
		}
		if err == nil {
			_ = w.Close()
		}
		dispatch()
		if len(c.queue) > maxQueued || len(c.out) > maxBacklog+5000 {
			t.Fatal("unbounded")
		}
		if s.turns > 10000 {
			t.Fatalf("waited %d times", s.turns)
		}
	})
}
