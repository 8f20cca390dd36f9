package contract

import (
	"go/build"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// stackRule are the variables that say where the runtime's first stack lies: a
// board enters the runtime with the stack pointer RamStackOffset below the end
// of RamStart and RamSize. Allocators end the heap where that stack ends.
var stackRule = []string{"RamStart", "RamSize", "RamStackOffset"}

var (
	entersRuntime = regexp.MustCompile(`(?m)^[^/\n]*\b_rt0_tamago_start\(SB\)`)
	usesHook      = regexp.MustCompile(`(?:\bgoos\.|runtime∕goos·)(\w+)`)
)

// entry checks that a package whose assembler enters the runtime takes the first
// stack from the contract's variables. That the sum is right is the runtime's to
// check: the derived toolchain's refuses another stack pointer.
func (c *Checker) entry(pkg *build.Package) error {
	used := map[string]bool{}
	where := ""
	for _, name := range slices.Concat(pkg.GoFiles, pkg.SFiles) {
		b, err := os.ReadFile(filepath.Join(pkg.Dir, name))
		if err != nil {
			return err
		}
		if filepath.Ext(name) == ".s" && entersRuntime.Match(b) {
			where = c.rel(filepath.Join(pkg.Dir, name), 1)
		}
		for _, m := range usesHook.FindAllSubmatch(b, -1) {
			used[string(m[1])] = true
		}
	}
	for _, name := range stackRule {
		if where != "" && !used[name] {
			c.report(where, "enters the runtime without a look at %s: the first stack is not where the contract has it", name)
		}
	}
	return nil
}
