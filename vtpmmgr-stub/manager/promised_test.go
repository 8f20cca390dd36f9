package manager

import (
	"os"
	"strings"
	"testing"

	"xenvtpm/vtpmmgr-stub/hwtpm"
)

// What a start says of a root that is not its own stands in the operator's guide
// in the same words (those of the disk and the TPM: package app).
func TestPromisedOrigins(t *testing.T) {
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		line string
	}{
		{ErrUnproven, "nothing proves that this manager has made the root key"},
		{ErrForeignRoot, "the store is FORGED"},
		{hwtpm.ErrForged, "sealed object was not made by this manager"},
		{ErrUnpinned, "only the authority that the disk names vouches for it"},
		{ErrAuthority, "another authority than the one that authority= names"},
		{ErrNarrow, "sealed over other PCRs than pcrs= asks for"},
		{errNotReleased, "leaving the group is for its authority"},
	} {
		if !strings.Contains(string(guide), "| `"+c.line+"`") {
			t.Errorf("docs/operations.md has no line for %q", c.line)
		}
		if !strings.Contains(c.err.Error(), c.line) {
			t.Errorf("%q is not in %q", c.line, c.err)
		}
	}
}
