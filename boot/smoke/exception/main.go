//go:build tamago

// Exception raises a processor exception, which one says the option kind. It
// succeeds by crashing, with the exception's report and the names of the
// functions shown; FAIL means that memory was not protected.
package main

import (
	"fmt"
	"unsafe"

	"xenvtpm/board/xenpvh"
	"xenvtpm/boot/pvh"
)

func main() {
	p, err := xenpvh.New()
	if err != nil {
		fmt.Println("FAIL:", err)
		return
	}
	kind, ok := p.Option("kind")
	if !ok {
		kind = "nil"
	}
	cause, ok := causes[kind]
	if !ok {
		fmt.Printf("FAIL: kind=%s is none of nil, code, constant, execute, nowhere, behind, guard, overflow\n", kind)
		return
	}
	fmt.Println("raising", kind)
	done := make(chan bool)
	go func() { // not on the main goroutine, and some frames deep
		defer func() { recover() }() // an exception is no panic: nothing recovers from it
		cause()
		done <- true
	}()
	<-done
	fmt.Println("FAIL: still running")
}

var causes = map[string]func(){
	"nil":      func() { sink = load((*int)(nil)) },
	"code":     func() { store(code()) },
	"constant": func() { store(unsafe.Pointer(unsafe.StringData(constant))) },
	"execute":  func() { call(unsafe.Pointer(&data)) },
	"nowhere":  func() { call(pvh.Pointer(0x123456789000)) },
	"behind":   func() { sink = load((*int)(pvh.Pointer(0xD0000000))) },
	"guard":    func() { sink = load((*int)(pvh.Pointer(pvh.StackGuard()))) },
	"overflow": func() { sink = recurse(1) }, // Go's own check, a panic
}

const constant = "a string in read-only memory"

var (
	sink int
	data = [4]uint64{0xC3C3C3C3C3C3C3C3} // RET
)

//go:noinline
func load(p *int) int { return *p }

//go:noinline
func store(p unsafe.Pointer) { *(*byte)(p) = 1 }

// code is the address of a function's instructions.
func code() unsafe.Pointer {
	f := load
	return **(**unsafe.Pointer)(unsafe.Pointer(&f))
}

// call calls the instructions at p as a function.
//
//go:noinline
func call(p unsafe.Pointer) {
	closure := &p
	f := *(*func())(unsafe.Pointer(&closure))
	f()
}

//go:noinline
func recurse(n int) int {
	var big [1024]int
	big[n%1024] = n
	return recurse(n+1) + big[(n+1)%1024]
}
