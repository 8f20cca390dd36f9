package tpmcrypto

import (
	"errors"
	"fmt"
	"testing"
)

func TestSelfTests(t *testing.T) {
	for _, a := range SelfTests() {
		if _, ok := selfTests[a]; !ok && !a.IsHash() {
			t.Errorf("algorithm %#x is listed and has no test", a)
		}
		if err := SelfTest(a); err != nil {
			t.Errorf("algorithm %#x: %v", a, err)
		}
	}
	if len(SelfTests()) != len(selfTests)+len(Hashes()) {
		t.Error("a test is not listed")
	}
	if err := SelfTestAll(SelfTests()); err != nil {
		t.Error(err)
	}
}

// A test that cannot fail proves nothing: answer must tell the difference, and
// the error must name the algorithm.
func TestSelfTestFails(t *testing.T) {
	if answer([]byte{1}, "02") == nil || answer(nil, "02") == nil {
		t.Fatal("answer accepts a wrong value")
	}
	old := selfTests[AlgMGF1]
	defer func() { selfTests[AlgMGF1] = old }()
	selfTests[AlgMGF1] = func() error { return errAnswer }
	var e *SelfTestError
	if err := SelfTestAll(SelfTests()); !errors.As(err, &e) || e.Alg != AlgMGF1 {
		t.Fatalf("got %v", err)
	}
}

func BenchmarkSelfTestAll(b *testing.B) {
	for b.Loop() {
		if err := SelfTestAll(SelfTests()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelfTest(b *testing.B) {
	for _, a := range SelfTests() {
		b.Run(fmt.Sprintf("%#x", uint16(a)), func(b *testing.B) {
			for b.Loop() {
				if err := SelfTest(a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
