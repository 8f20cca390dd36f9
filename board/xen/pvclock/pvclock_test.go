package pvclock

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/shm"
)

// TestScaling compares with arbitrary-precision arithmetic.
func TestScaling(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		p := Params{
			TSC: rng.Uint64() >> (1 + rng.UintN(60)), SystemTime: rng.Uint64() >> 2,
			Mul: rng.Uint32(), Shift: int8(rng.IntN(40) - 32),
		}
		delta := rng.Uint64() >> (2 + rng.UintN(60))
		got := p.Time(p.TSC + delta)
		shifted := delta
		if p.Shift >= 0 {
			shifted <<= uint(p.Shift)
		} else {
			shifted >>= uint(-p.Shift)
		}
		want := new(big.Int).Mul(new(big.Int).SetUint64(shifted), big.NewInt(int64(p.Mul)))
		want.Rsh(want, 32).Add(want, new(big.Int).SetUint64(p.SystemTime))
		want.And(want, new(big.Int).SetUint64(^uint64(0)))
		if want.Uint64() != got {
			t.Fatalf("%+v, delta %d: %d, want %d", p, delta, got, want)
		}
	}
}

func TestScalingEdges(t *testing.T) {
	for _, tc := range []struct {
		p    Params
		tsc  uint64
		want uint64
	}{
		{Params{TSC: 1000, SystemTime: 7, Mul: 1 << 31}, 3000, 1007},           // 2 GHz
		{Params{TSC: 1000, SystemTime: 7, Mul: 1 << 31, Shift: 1}, 2000, 1007}, // 1 GHz
		{Params{TSC: 1000, SystemTime: 7, Mul: 1 << 31, Shift: -1}, 5000, 1007},
		{Params{TSC: 1000, SystemTime: 7, Mul: 1 << 31}, 999, 7}, // TSC slightly behind
		{Params{SystemTime: 7, Mul: 1 << 31, Shift: 64}, 9, 7},   // nonsense does not panic
		{Params{SystemTime: 7, Mul: 1 << 31, Shift: -128}, 9, 7},
	} {
		if got := tc.p.Time(tc.tsc); got != tc.want {
			t.Errorf("%+v at %d: %d, want %d", tc.p, tc.tsc, got, tc.want)
		}
	}
}

const base = abi.VCPUInfoTime

func newClock(tsc func() uint64) (*shm.Page, *Clock) {
	page := shm.New()
	page.Store32(base+abi.VCPUTimeInfoTSCToSystemMul, 1<<31)
	page.Store8(base+abi.VCPUTimeInfoTSCShift, 1) // 1 GHz: 1 ns for a tick
	return page, New(page, tsc)
}

// TestUpdateUnderWay: a copy that an update has cut through is thrown away,
// whether it was cut before or during the reading.
func TestUpdateUnderWay(t *testing.T) {
	reads := 0
	var page *shm.Page
	page, clock := newClock(func() uint64 {
		if reads++; reads < 5 { // the parameters change while the TSC is read
			v := page.Load32(base + abi.VCPUTimeInfoVersion)
			page.Store64(base+abi.VCPUTimeInfoSystemTime, uint64(reads)*1000)
			page.Store32(base+abi.VCPUTimeInfoVersion, v+2)
		}
		return 50
	})
	if got := clock.Now(); got != 4050 || reads != 5 {
		t.Errorf("%d after %d reads", got, reads)
	}
	page.Store32(base+abi.VCPUTimeInfoVersion, 1) // for ever under way
	if got := clock.Now(); got != 4050 {
		t.Errorf("%d while an update never ends", got)
	}
}

func TestMonotonic(t *testing.T) {
	tsc := uint64(1000)
	page, clock := newClock(func() uint64 { return tsc })
	first := clock.Now()
	tsc = 10
	if clock.Now() < first {
		t.Error("went back with the TSC")
	}
	tsc = 2000
	page.Store64(base+abi.VCPUTimeInfoTSCTimestamp, 1999) // system time 0 again: after a migration
	if clock.Now() < first {
		t.Error("went back with the parameters")
	}
	page.Store64(base+abi.VCPUTimeInfoSystemTime, 1<<63+5) // does not fit: no negative time
	if clock.Now() < 0 {
		t.Error("negative")
	}
}

func TestWall(t *testing.T) {
	page, clock := newClock(func() uint64 { return 500 })
	if _, ok := clock.Wall(); ok {
		t.Error("a wall clock that nobody set")
	}
	page.Store32(abi.SharedInfoWCSec, 1_700_000_000)
	page.Store32(abi.SharedInfoWCNsec, 5)
	if ns, ok := clock.Wall(); !ok || ns != 1_700_000_000_000_000_505 {
		t.Errorf("%d, %v", ns, ok)
	}
	page.Store32(abi.SharedInfoWCSecHi, 0xFFFFFFFF)
	if _, ok := clock.Wall(); ok {
		t.Error("an absurd wall clock is believed")
	}
	page.Store32(abi.SharedInfoWCSecHi, 0)
	page.Store32(abi.SharedInfoWCVersion, 3)
	if _, ok := clock.Wall(); ok {
		t.Error("a wall clock that is never stable is believed")
	}
}
