//go:build tamago

// Exercise runs what the images need of a runtime as a Linux process, through
// the contract's own user space board. Its argument-less life ends with the
// word SUCCESS and exit code 0, or with a panic. One linker-set variable picks
// the deaths that the test wants to see.
package main

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/goos"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	_ "github.com/usbarmory/tamago/user/linux"
	"golang.org/x/crypto/chacha20poly1305"
)

// mode is set with -ldflags "-X main.mode=...".
var mode string

func main() {
	switch mode {
	case "panic":
		panic("on purpose")
	case "exit3":
		os.Exit(3)
	case "oom":
		hog()
	case "deadlock":
		goos.Idle = idleForGood
		select {}
	case "nil":
		var p *[4]int
		fmt.Println(p[mustInt(2)])
	}
	for _, t := range []struct {
		name string
		run  func()
	}{
		{"goroutines", goroutines}, {"timers", timers}, {"gc", gc}, {"crypto", crypt},
		{"idle", idle}, {"bignum", bignum}, {"tpm", tpm}, {"system", system}, {"recover", recovers},
	} {
		t.run()
		fmt.Println("ok", t.name)
	}
	fmt.Println("SUCCESS")
}

func mustInt(n int) int { return n }

func check(ok bool, what string) {
	if !ok {
		panic("exercise: " + what)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var sink [][]byte

func hog() {
	for {
		sink = append(sink, make([]byte, 1<<20))
	}
}

func goroutines() {
	var mu sync.Mutex
	var wg sync.WaitGroup
	sum, ch := 0, make(chan int)
	for i := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for v := range ch {
				mu.Lock()
				sum += v
				mu.Unlock()
				if v%10 == i%10 {
					runtime.Gosched()
				}
			}
		}()
	}
	for v := range 10000 {
		ch <- v
	}
	close(ch)
	wg.Wait()
	check(sum == 10000*9999/2, "sum over channels")
	check(runtime.GOMAXPROCS(8) == 1 && runtime.GOMAXPROCS(0) == 1, "one processor")
	var once sync.Once
	for range 3 {
		once.Do(func() { sum = 0 })
	}
	check(sum == 0, "once")
}

func timers() {
	start := time.Now()
	time.Sleep(20 * time.Millisecond)
	d := time.Since(start)
	check(d >= 20*time.Millisecond && d < 2*time.Second, "sleep took "+d.String())
	check(start.Year() >= 2024, "wall clock")
	tick := time.NewTicker(2 * time.Millisecond)
	for range 5 {
		<-tick.C
	}
	tick.Stop()
	select {
	case <-make(chan int):
	case <-time.After(5 * time.Millisecond):
	}
	fired := make(chan bool, 1)
	time.AfterFunc(time.Millisecond, func() { fired <- true })
	check(<-fired, "AfterFunc")
}

// gc makes garbage with pointers in it from several goroutines and checks that
// what is kept keeps its contents.
func gc() {
	type node struct {
		next *node
		data []byte
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var keep *node
			for i := range 3000 {
				n := &node{data: bytes.Repeat([]byte{byte(i ^ g)}, 500+i%700)}
				if i%50 == 0 {
					n.next, keep = keep, n
				}
			}
			i := 2950
			for n := keep; n != nil; n = n.next {
				check(len(n.data) == 500+i%700 && n.data[len(n.data)-1] == byte(i^g), "kept object")
				i -= 50
			}
			check(i == -50, "list length")
		}()
	}
	wg.Wait()
	finalized := make(chan bool, 1)
	func() {
		p := new([64]byte)
		runtime.SetFinalizer(p, func(*[64]byte) { finalized <- true })
	}()
	runtime.GC()
	runtime.GC()
	check(<-finalized, "finalizer")
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	check(ms.NumGC >= 2, "collections")
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(64 << 20)
	debug.FreeOSMemory()
	deep(20000) // stack growth
}

func deep(n int) int {
	var pad [64]byte
	if n == 0 {
		return len(pad)
	}
	return deep(n-1) + int(pad[n%64])
}

func crypt() {
	digest := sha256.Sum256([]byte("abc"))
	check(fmt.Sprintf("%x", digest[:4]) == "ba7816bf", "sha256")

	block := must(aes.NewCipher(digest[:]))
	aead := must(cipher.NewGCM(block))
	nonce := make([]byte, aead.NonceSize())
	sealed := aead.Seal(nil, nonce, []byte("secret"), nil)
	check(string(must(aead.Open(nil, nonce, sealed, nil))) == "secret", "aes-gcm")
	sealed[3] ^= 1
	_, err := aead.Open(nil, nonce, sealed, nil)
	check(err != nil, "aes-gcm accepts a flipped bit")
	must(chacha20poly1305.New(digest[:]))

	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	sig := must(ecdsa.SignASN1(rand.Reader, ec, digest[:]))
	check(ecdsa.VerifyASN1(&ec.PublicKey, digest[:], sig), "ecdsa")

	key := must(rsa.GenerateKey(rand.Reader, 2048))
	sig = must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]))
	check(rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], sig) == nil, "rsa")

	dk := must(mlkem.GenerateKey768())
	shared, ct := dk.EncapsulationKey().Encapsulate()
	check(bytes.Equal(shared, must(dk.Decapsulate(ct))), "mlkem")

	a, b := make([]byte, 32), make([]byte, 32)
	rand.Read(a)
	rand.Read(b)
	check(!bytes.Equal(a, b), "random numbers repeat")
}

// idleForGood ends the process when the runtime says that nothing will ever
// happen by itself.
func idleForGood(until int64) {
	if until == math.MaxInt64 {
		print("idle for good\n")
		goos.Exit(7)
	}
}

var idleCalls, idleUntil int64

// idle checks that the hook is called with the next deadline and that the
// scheduler looks again after it.
func idle() {
	goos.Idle = func(until int64) { // on the system stack: no allocation
		idleCalls++
		idleUntil = until
	}
	start := goos.Nanotime()
	time.Sleep(10 * time.Millisecond)
	end := goos.Nanotime()
	goos.Idle = nil
	check(idleCalls > 0, "the idle hook is not called")
	check(idleUntil >= start+10e6 && idleUntil <= end, "the idle hook gets another deadline")
}

func bignum() {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1))
	check(p.ProbablyPrime(10), "2^127-1 is prime")
}

func tpm() {
	b := tpm2.Marshal(tpm2.TPMTPublic{Type: tpm2.TPMAlgRSA, NameAlg: tpm2.TPMAlgSHA256,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 2048}),
		Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})})
	pub := must(tpm2.Unmarshal[tpm2.TPMTPublic](b))
	check(pub.NameAlg == tpm2.TPMAlgSHA256, "go-tpm round trip")
}

// system is what an image must find missing, and say so.
func system() {
	check(runtime.GOOS == "tamago", "GOOS")
	_, err := os.ReadFile("/etc/passwd")
	check(errors.Is(err, fs.ErrNotExist), "a file system")
	_, err = net.Dial("tcp", "192.0.2.1:1")
	check(err != nil, "a network")
	check(len(os.Args) == 1 && len(os.Environ()) == 0, "arguments")
	n, err := os.Stdin.Read(make([]byte, 1))
	check(n == 0 && err != nil, "standard input")
	_, err = os.StartProcess("/bin/true", nil, &os.ProcAttr{})
	check(err != nil, "processes")
}

func recovers() {
	defer func() {
		check(recover() != nil, "division by zero")
	}()
	fmt.Println(1 / mustInt(0))
}
