//go:build tamago

// Hello is the smallest image: it says so and powers off.
package main

import (
	"fmt"

	_ "xenvtpm/board/xenpvh"
)

func main() {
	fmt.Println("hello from bare metal")
	fmt.Println("SUCCESS")
}
