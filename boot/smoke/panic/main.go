//go:build tamago

// Panic shows that an unrecovered panic prints Go's trace and ends the domain
// as a crash. It succeeds by crashing, with "goroutine 1 [running]" shown.
package main

import (
	"fmt"

	"xenvtpm/board/xenpvh"
)

func main() {
	if _, err := xenpvh.New(); err != nil {
		fmt.Println("FAIL:", err)
	}
	deeper(3)
	fmt.Println("FAIL: still running after a panic")
}

//go:noinline
func deeper(n int) {
	if n == 0 {
		panic("on purpose")
	}
	deeper(n - 1)
}
