package drbg

import "testing"

// script plays a generator: each entry is one answer, the last one repeats.
type answer struct {
	v  uint64
	ok bool
}

func script(list ...answer) (f func() (uint64, bool), calls *int) {
	n := 0
	return func() (uint64, bool) {
		a := list[min(n, len(list)-1)]
		n++
		return a.v, a.ok
	}, &n
}

func fails(n int, then ...answer) []answer { return append(make([]answer, n), then...) }

func TestWord(t *testing.T) {
	good := answer{7, true}
	for name, c := range map[string]struct {
		rand, seed []answer
		want       uint64
		fault      string
	}{
		"RDRAND alone":            {rand: []answer{good}, want: 7},
		"both":                    {rand: []answer{good}, seed: []answer{{8, true}}, want: 15},
		"nine failures":           {rand: fails(9, good), want: 7},
		"ten failures":            {rand: fails(10, good), fault: "RDRAND fails"},
		"dead":                    {rand: fails(1), fault: "RDRAND fails"},
		"RDSEED late":             {rand: []answer{good}, seed: fails(99, answer{8, true}), want: 15},
		"RDSEED never":            {rand: []answer{good}, seed: fails(1), want: 7},
		"RDRAND dead, RDSEED not": {rand: fails(1), seed: []answer{good}, fault: "RDRAND fails"},
		"zero is a word":          {rand: []answer{{0, true}}, want: 0},
	} {
		s := Source{}
		s.Rand, _ = script(c.rand...)
		if c.seed != nil {
			s.Seed, _ = script(c.seed...)
		}
		if v, fault := s.Word(); v != c.want || fault != c.fault {
			t.Errorf("%s: %d, %q, want %d, %q", name, v, fault, c.want, c.fault)
		}
	}
}

func TestStuck(t *testing.T) {
	var s Source
	var calls *int
	s.Rand, calls = script(answer{1<<64 - 1, true})
	if _, fault := s.Word(); fault != "" {
		t.Fatalf("the first word: %s", fault)
	}
	if _, fault := s.Word(); fault != "RDRAND repeats itself" {
		t.Errorf("the second word: %q", fault)
	}
	if *calls != 1+sameTries {
		t.Errorf("%d calls", *calls)
	}
	// Equal words twice in a row are bad luck, not a fault, and are not used.
	s = Source{}
	s.Rand, _ = script(answer{5, true}, answer{5, true}, answer{5, true}, answer{6, true})
	for _, want := range []uint64{5, 6} {
		if v, fault := s.Word(); v != want || fault != "" {
			t.Errorf("%d, %q, want %d", v, fault, want)
		}
	}
}

func TestGather(t *testing.T) {
	counter := func() func() (uint64, bool) {
		n := uint64(0)
		return func() (uint64, bool) { n++; return n, true }
	}
	out := func(n int, extra uint64) [32]byte {
		var d DRBG
		s := Source{Rand: counter()}
		if fault := s.Gather(&d, n, extra); fault != "" {
			t.Fatal(fault)
		}
		var b [32]byte
		d.Read(b[:])
		return b
	}
	if out(2, 1) == out(3, 1) || out(2, 1) == out(2, 2) {
		t.Error("an input has no influence")
	}
	if out(2, 1) != out(2, 1) {
		t.Error("the same inputs give different output")
	}
	var d DRBG
	s := Source{Rand: func() (uint64, bool) { return 0, false }}
	if s.Gather(&d, 1, 0) == "" || d != (DRBG{}) {
		t.Error("a dead source seeds the generator")
	}
	d.Mix(&[SeedSize]byte{1})
	s = Source{Rand: counter()}
	if n := testing.AllocsPerRun(10, func() { s.Gather(&d, 1, 0) }); n != 0 {
		t.Errorf("Gather allocates %v times", n)
	}
}
