package ring

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

var console = Layout{Buf: abi.ConsoleOut, Size: abi.ConsoleOutSize, Cons: abi.ConsoleOutCons, Prod: abi.ConsoleOutProd}

// TestStream moves random data in random pieces and wraps the indices at 2^32.
func TestStream(t *testing.T) {
	page := shm.New()
	start := uint32(0xFFFFF000)
	page.Store32(console.Cons, start)
	page.Store32(console.Prod, start)
	w, r := NewWriter(page, console), NewReader(page, console)
	rng := rand.New(rand.NewPCG(1, 2))
	var sent, got bytes.Buffer
	for range 5000 {
		chunk := make([]byte, rng.IntN(3000))
		for i := range chunk {
			chunk[i] = byte(rng.Uint32())
		}
		n, err := w.Write(chunk)
		if err != nil {
			t.Fatal(err)
		}
		sent.Write(chunk[:n])
		buf := make([]byte, rng.IntN(3000))
		if n, err = r.Read(buf); err != nil {
			t.Fatal(err)
		}
		got.Write(buf[:n])
		if free, _ := w.Free(); free != console.Size-(sent.Len()-got.Len()) {
			t.Fatalf("free %d with %d in the ring", free, sent.Len()-got.Len())
		}
	}
	if !bytes.Equal(got.Bytes(), sent.Bytes()[:got.Len()]) || got.Len() < 1<<20 {
		t.Errorf("%d of %d bytes came through, or not the same", got.Len(), sent.Len())
	}
	if w.Drained() != (sent.Len() == got.Len()) {
		t.Error("Drained")
	}
	for _, off := range []int{0, 512, 1023, console.Cons - 1, abi.ConsoleConnection, 4095} {
		if off < console.Buf && page.Load8(off) != 0 || off > console.Prod+3 && page.Load8(off) != 0 {
			t.Errorf("byte %d outside the ring was written", off)
		}
	}
}

// TestStreamCorrupt: an index that cannot be is an error for as long as it
// stays, and never a wrong copy.
func TestStreamCorrupt(t *testing.T) {
	for _, idx := range []uint32{1, 0x801, 0x7FFFFFFF, 0x80000000, 0xFFFFF7FF, 0xFFFFFFFF} {
		page := shm.New()
		w, r := NewWriter(page, console), NewReader(page, console)
		page.Store32(console.Cons, idx) // peer says it consumed what we never wrote
		if n, err := w.Write([]byte("x")); (idx < 0xFFFFF800) && (!errors.Is(err, ErrCorrupt) || n != 0) {
			t.Errorf("cons %#x: wrote %d, %v", idx, n, err)
		}
		page.Store32(console.Prod, idx)
		buf := make([]byte, 4096)
		n, err := r.Read(buf)
		if idx <= abi.ConsoleOutSize {
			if err != nil || n != int(idx) {
				t.Errorf("prod %#x: read %d, %v", idx, n, err)
			}
		} else if !errors.Is(err, ErrCorrupt) || n != 0 {
			t.Errorf("prod %#x: read %d, %v", idx, n, err)
		}
	}
}

// TestTraceOfXenMacros repeats what Xen's own ring macros did
// (testdata/trace.c): the same steps must give the same indices and the same
// answer about notifying.
func TestTraceOfXenMacros(t *testing.T) {
	f, err := os.Open("testdata/blkif-trace.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := shm.New()
	front := NewFront(page, Blkif)
	back := NewBack(page, Blkif)
	req, rsp := make([]byte, abi.BlkifSlotSize), make([]byte, abi.BlkifRspSize)
	var nextID, wantID, served uint64
	line := 0
	for s := bufio.NewScanner(f); s.Scan(); line++ {
		var op string
		var n, wantDone, wantFlag int
		var idx [4]uint32
		if _, err := fmt.Sscan(s.Text(), &op, &n, &wantDone, &wantFlag, &idx[0], &idx[1], &idx[2], &idx[3]); err != nil {
			t.Fatal(err)
		}
		done, flag := 0, false
		switch op {
		case "P":
			for done < n {
				req[0], req[1] = byte(nextID), byte(nextID>>8)
				if !front.Put(req) {
					break
				}
				nextID++
				done++
			}
			flag = front.Publish()
		case "R":
			for done < n {
				ok, err := back.Take(req)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if id := uint64(req[0]) | uint64(req[1])<<8; id != served&0xFFFF {
					t.Fatalf("request %d taken as %d", served, id)
				}
				served++
				copy(rsp, req)
				if !back.Put(rsp) {
					t.Fatal("no room for a response to a request that was taken")
				}
				done++
			}
			flag = back.Publish()
		case "T":
			for done < n {
				ok, err := front.Take(rsp)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if id := uint64(rsp[0]) | uint64(rsp[1])<<8; id != wantID&0xFFFF {
					t.Fatalf("response %d instead of %d", id, wantID)
				}
				wantID++
				done++
			}
		case "FA":
			flag = front.Arm()
		case "BA":
			flag = back.Arm()
		}
		got := [4]uint32{page.Load32(abi.RingReqProd), page.Load32(abi.RingReqEvent), page.Load32(abi.RingRspProd), page.Load32(abi.RingRspEvent)}
		if done != wantDone || flag != (wantFlag == 1) || got != idx {
			t.Fatalf("line %d %q: did %d, flag %v, indices %v", line+1, s.Text(), done, flag, got)
		}
	}
	if line < 1000 {
		t.Fatalf("only %d steps", line)
	}
}

func TestSlotsCorrupt(t *testing.T) {
	rsp, req := make([]byte, abi.BlkifRspSize), make([]byte, abi.BlkifSlotSize)
	for _, prod := range []uint32{3, 33, 0x80000000, 0xFFFFFFFF} {
		page := shm.New()
		f := NewFront(page, Blkif)
		f.Put(req)
		f.Put(req)
		f.Publish()
		page.Store32(abi.RingRspProd, prod) // more answers than questions
		if ok, err := f.Take(rsp); ok || !errors.Is(err, ErrCorrupt) {
			t.Errorf("rsp_prod %#x: %v, %v", prod, ok, err)
		}
	}
	for _, prod := range []uint32{33, 64, 0x80000000, 0xFFFFFFFF} {
		page := shm.New()
		page.Store32(abi.RingReqProd, prod) // more questions than slots
		if ok, err := NewBack(page, Blkif).Take(req); ok || !errors.Is(err, ErrCorrupt) {
			t.Errorf("req_prod %#x: %v, %v", prod, ok, err)
		}
	}
	// A request that was put but not published cannot be answered.
	page := shm.New()
	f := NewFront(page, Blkif)
	f.Put(req)
	page.Store32(abi.RingRspProd, 1)
	if ok, err := f.Take(rsp); ok || !errors.Is(err, ErrCorrupt) {
		t.Errorf("answer to an unpublished request: %v, %v", ok, err)
	}
	// An index that goes back after it was believed.
	page = shm.New()
	f, b := NewFront(page, Blkif), NewBack(page, Blkif)
	f.Put(req)
	f.Publish()
	if ok, err := b.Take(req); !ok || err != nil {
		t.Fatal(err)
	}
	page.Store32(abi.RingReqProd, 0)
	if ok, err := b.Take(req); ok || !errors.Is(err, ErrCorrupt) {
		t.Errorf("req_prod went back: %v, %v", ok, err)
	}
}

// FuzzHostileRing lets the peer write anything between our steps: nothing may
// panic and no copy may leave the slots.
func FuzzHostileRing(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(bytes.Repeat([]byte{0xFF, 0x00, 0x80}, 20))
	f.Fuzz(func(t *testing.T, script []byte) {
		page := shm.New()
		front, back := NewFront(page, Blkif), NewBack(page, Blkif)
		w, r := NewWriter(page, console), NewReader(page, console)
		req, rsp, buf := make([]byte, abi.BlkifSlotSize), make([]byte, abi.BlkifRspSize), make([]byte, 100)
		for i := 0; i+5 < len(script); i += 6 {
			v := uint32(script[i+2]) | uint32(script[i+3])<<8 | uint32(script[i+4])<<16 | uint32(script[i+5])<<24
			switch script[i] % 8 {
			case 0:
				front.Put(req)
				front.Publish()
			case 1:
				_, _ = front.Take(rsp)
			case 2:
				_, _ = back.Take(req)
				back.Put(rsp)
				back.Publish()
			case 3:
				front.Arm()
				back.Arm()
			case 4:
				_, _ = w.Write(buf[:script[i+1]%100])
			case 5:
				_, _ = r.Read(buf[:script[i+1]%100])
			case 6:
				page.Store32(int(script[i+1]%16)*4, v)
			case 7:
				page.Store32(console.Cons+int(script[i+1]%2)*4, v)
			}
			if front.Free() < 0 || front.Free() > Blkif.Count {
				t.Fatalf("%d slots free", front.Free())
			}
		}
	})
}
