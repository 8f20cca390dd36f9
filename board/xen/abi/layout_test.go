package abi

import (
	"bufio"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// notInHeaders are constants of ours that Xen's headers do not have as such.
var notInHeaders = map[string]string{
	"PageSize":                "x86",
	"SchedPollMaxPorts":       "limit in Xen's do_poll",
	"GrantEntriesPerPage":     "derived",
	"BlkifSectorSize":         "io/blkif.h, prose",
	"XEN_IO_PROTO_ABI_X86_64": "string",
	"XEN_ELFNOTE_OWNER":       "string",
	"TPMIFMaxPacket":          "derived",
	"ConsoleConnection":       "newer than 4.17",
	"XENCONSOLE_CONNECTED":    "newer than 4.17",
	"XENCONSOLE_DISCONNECTED": "newer than 4.17",
	"EDQUOT":                  "sent by newer servers; Linux's number",
}

// constants evaluates every exported constant of the package.
func constants(t *testing.T) map[string]constant.Value {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var list []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	// Imports are not needed for constants; errors about them are ignored.
	conf := types.Config{Error: func(error) {}}
	pkg, _ := conf.Check("abi", fset, list, nil)
	all := make(map[string]constant.Value)
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Exported() {
			all[name] = c.Val()
		}
	}
	return all
}

// TestAgainstHeaders compares every constant with what a C compiler made of
// Xen's headers (testdata/layout.c), in both directions.
func TestAgainstHeaders(t *testing.T) {
	have := constants(t)
	if len(have) < 250 {
		t.Fatalf("only %d constants found", len(have))
	}
	f, err := os.Open("testdata/xen-4.17-x86_64.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pinned := make(map[string]bool)
	for s := bufio.NewScanner(f); s.Scan(); {
		name, want, _ := strings.Cut(s.Text(), " ")
		pinned[name] = true
		if v, ok := have[name]; !ok {
			t.Errorf("%s is not in the package", name)
		} else if v.ExactString() != want {
			t.Errorf("%s = %s, the headers say %s", name, v, want)
		}
	}
	for name := range have {
		if !pinned[name] && notInHeaders[name] == "" {
			t.Errorf("%s is not pinned by testdata/layout.c", name)
		}
	}
	for name := range notInHeaders {
		if _, ok := have[name]; !ok || pinned[name] {
			t.Errorf("%s is listed as not in the headers, wrongly", name)
		}
	}
}

func TestNames(t *testing.T) {
	for e := range errnoNames {
		if got, ok := ErrnoByName(e.Error()); !ok || got != e {
			t.Errorf("%d: %s comes back as %d", e, e.Error(), got)
		}
	}
	if _, ok := ErrnoByName("EWHATEVER"); ok {
		t.Error("an unknown name was found")
	}
	for _, tc := range []struct{ got, want string }{
		{Errno(4711).Error(), "errno 4711"},
		{GNTST_eagain.Error(), "grant table: try again"},
		{GNTST_no_space.Error(), "grant table: out of space"},
		{GrantStatus(-99).Error(), "grant table: unknown status"},
		{GrantStatus(5).Error(), "grant table: unknown status"},
		{XenbusStateClosed.String(), "Closed"},
		{XenbusState(-1).String(), "invalid"},
		{XenbusState(99).String(), "invalid"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
	if HypercallError(0) != nil || HypercallError(7) != nil || HypercallError(-22) != EINVAL {
		t.Error("HypercallError")
	}
}
