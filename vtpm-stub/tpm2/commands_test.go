package tpm2

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// commandDoc is where the table of commands is documented, between two marks.
const (
	commandDoc = "../../docs/tpm2.md"
	tableBegin = "<!-- commands: made by go test ./vtpm-stub/tpm2 -run TestCommandDoc -update -->\n"
	tableEnd   = "<!-- end of commands -->\n"
)

// TestCommandDoc holds the table in docs/tpm2.md against the code.
func TestCommandDoc(t *testing.T) {
	var b strings.Builder
	n, all := 0, 0
	b.WriteString("| code | command | state |\n|---|---|---|\n")
	for _, c := range Commands() {
		state := "TPM_RC_COMMAND_CODE"
		all++
		if c.Implemented {
			state = "implemented"
			n++
		}
		name := c.Name
		if strings.HasPrefix(name, "TPM2_MAC") {
			name += ", " + strings.Replace(name, "MAC", "HMAC", 1)
		}
		fmt.Fprintf(&b, "| 0x%08X | %s | %s |\n", uint32(c.Code), name, state)
	}
	fmt.Fprintf(&b, "\n%d of %d command codes are implemented.\n", n, all)
	doc, err := os.ReadFile(commandDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for the table", commandDoc)
	}
	want := before + tableBegin + b.String() + tableEnd + after
	if want == string(doc) {
		return
	}
	if !*update {
		t.Fatalf("the table in %s is not that of the code; run this test with -update", commandDoc)
	}
	if err := os.WriteFile(commandDoc, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
