package work

import (
	"os"

	"cmd/go/internal/base"
	"cmd/go/internal/cfg"
)

// checkGOOSPKG refuses a GOOSPKG that this toolchain cannot honour: its
// runtime/goos was put in place when it was made.
func checkGOOSPKG() {
	const have = "github.com/usbarmory/tamago"
	if pkg := os.Getenv("GOOSPKG"); cfg.Goos == "tamago" && pkg != "" && pkg != have {
		base.Fatalf("go: GOOSPKG=%s: this toolchain was made with the goos package of %s", pkg, have)
	}
}
