//go:build tamago

// Gc works the garbage collector hard in a small domain: many times the
// memory that there is gets allocated, while goroutines keep some of it and
// check that it stays what it was.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"

	"xenvtpm/board/xenpvh"
	"xenvtpm/board/xenpvh/selftest"
)

const (
	workers = 8
	rounds  = 8
	kept    = 40 // 5 MB in all
	chunk   = 16 << 10
)

func main() { selftest.Run("gc", test) }

func test(p *xenpvh.Platform) error {
	results := make(chan error)
	for w := range workers {
		go func() { results <- work(byte(w)) }()
	}
	keys := make(chan error)
	go func() { keys <- makeKeys(2) }()
	var errs []error
	for range workers {
		errs = append(errs, <-results)
	}
	errs = append(errs, <-keys)
	m := p.Memory()
	fmt.Printf("%d MB allocated in all; %v\n", workers*rounds*kept*chunk>>20, m)
	if m.GCs < 5 {
		errs = append(errs, fmt.Errorf("only %d collections", m.GCs))
	}
	if m.Peak < workers*kept*chunk {
		errs = append(errs, fmt.Errorf("the heap was never larger than %d bytes", m.Peak))
	}
	return errors.Join(errs...)
}

// work fills chunks, keeps the last few and checks them all the time.
func work(id byte) error {
	type entry struct {
		data []byte
		sum  [32]byte
	}
	var ring [kept]*entry
	for i := range rounds * kept {
		runtime.Gosched() // nobody preempts us; all workers shall hold memory at once
		data := make([]byte, chunk)
		for j := range data {
			if data[j] != 0 {
				return fmt.Errorf("fresh memory is not zero in round %d", i)
			}
			data[j] = byte(i*j) ^ id
		}
		ring[i%kept] = &entry{data, sha256.Sum256(data)}
		old := ring[(i*7)%kept]
		if old != nil && sha256.Sum256(old.data) != old.sum {
			return fmt.Errorf("memory changed in round %d", i)
		}
	}
	return nil
}

func makeKeys(n int) error {
	for range n {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return err
		}
		if err := k.Validate(); err != nil {
			return err
		}
	}
	return nil
}
