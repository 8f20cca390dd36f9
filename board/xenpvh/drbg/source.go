package drbg

// A Source draws words from the processor's generators and distrusts them: a
// broken RDRAND can fail for ever, or claim success and return the same word
// each time, all ones for example.
type Source struct {
	// Rand is RDRAND: ok is false if it has nothing just now.
	Rand func() (v uint64, ok bool)
	// Seed is RDSEED, or nil where the processor has none.
	Seed func() (v uint64, ok bool)

	last uint64 // the last word of Rand
	any  bool   // there was one
}

const (
	randTries = 10  // Intel SDM vol. 1, 7.3.17.1
	seedTries = 100 // other guests may draw as well

	// sameTries is how many equal words in a row are too many. By chance two
	// are equal once in 2^64 words.
	sameTries = 3
)

// Word returns 64 bits: a word of RDRAND, xor one of RDSEED if that has one to
// give. fault is not empty if RDRAND is unusable; there is then no word, and
// who needs randomness must not go on.
func (s *Source) Word() (v uint64, fault string) {
	if v, fault = s.rand(); fault != "" {
		return 0, fault
	}
	if s.Seed != nil {
		for range seedTries {
			if w, ok := s.Seed(); ok {
				return v ^ w, ""
			}
		}
	}
	return v, ""
}

func (s *Source) rand() (uint64, string) {
	same := 0
	for tries := 0; tries < randTries; {
		v, ok := s.Rand()
		switch {
		case !ok:
			tries++
			continue
		case s.any && v == s.last:
			if same++; same == sameTries {
				return 0, "RDRAND repeats itself"
			}
			continue
		}
		s.last, s.any = v, true
		return v, ""
	}
	return 0, "RDRAND fails"
}

// Gather mixes n seeds of the source's words, and extra, into d.
func (s *Source) Gather(d *DRBG, n int, extra uint64) (fault string) {
	var seed [SeedSize]byte
	for range n {
		for i := 0; i < len(seed); i += 8 {
			v, fault := s.Word()
			if fault != "" {
				return fault
			}
			put64(seed[i:], v)
		}
		d.Mix(&seed)
	}
	seed = [SeedSize]byte{}
	put64(seed[:], extra)
	d.Mix(&seed)
	return ""
}

func put64(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (8 * i))
	}
}
