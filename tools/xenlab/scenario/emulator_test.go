package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const fault = `(XEN) d3v0: upcall vector f3
(XEN) d3v0 Triple fault - invoking HVM shutdown action 1
(XEN) *** Dumping Dom3 vcpu#0 state: ***
(XEN) ----[ Xen-4.17.7  x86_64  debug=n  Not tainted ]----
(XEN) CPU:    1
(XEN) RIP:    e008:[<ffff82d0402044a5>]
(XEN) RFLAGS: 0000000000000246   CONTEXT: hvm guest (d3v0)
`

func TestEmulatorFault(t *testing.T) {
	own := strings.ReplaceAll(strings.ReplaceAll(fault, "e008:[<ffff82d0402044a5>]", "0010:[<0000000000176bc0>]"), "d3v0", "d5v1")
	linux := strings.ReplaceAll(fault, "e008:[<ffff82d0402044a5>]", "0010:[<ffffffff8103dddc>]")
	user := strings.ReplaceAll(fault, "e008:[<ffff82d0402044a5>]", "0033:[<00007f5b9b765000>]")
	for name, c := range map[string]struct{ console, want string }{
		"nothing":               {"", ""},
		"a healthy console":     {"(XEN) d3v0: upcall vector f3\n", ""},
		"Xen's state":           {fault, "d3v0"},
		"with carriage returns": {strings.ReplaceAll(fault, "\n", "\r\n"), "d3v0"},
		// That is a domain which broke itself: it must not be excused.
		"an image's own state":             {own, ""},
		"a program's state":                {user, ""},
		"the stock kernel's state":         {linux, "d3v0"},
		"a domain's own, then Xen's":       {own + fault, "d3v0"},
		"the report is not complete yet":   {fault[:strings.Index(fault, "RIP:")], ""},
		"Xen's selector in another report": {"(XEN) RIP:    e008:[<ffff82d0402044a5>]\n", ""},
	} {
		if got := emulatorFault([]byte(c.console), excused); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := emulatorFault([]byte(linux), foreign); got != "" {
		t.Errorf("a guest that Xen starts anew would end the run: %q", got)
	}
	if got := emulatorFault([]byte(linux+fault), foreign); got != "d3v0" {
		t.Errorf("Xen's state after a guest's: %q", got)
	}
	log := filepath.Join(t.TempDir(), "console.log")
	if got := brokenDomain(log, excused); got != "" {
		t.Errorf("a missing log: %q", got)
	}
	if err := os.WriteFile(log, []byte(fault), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := brokenDomain(log, excused); got != "d3v0" {
		t.Errorf("a log: %q", got)
	}
}
