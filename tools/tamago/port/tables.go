package port

type replacement struct{ old, new string }

// variants are made from another target's file of the same package. js is the
// nearest relative: one thread, no signals, no processes, no real sockets.
var variants = []struct {
	from    string
	replace []replacement
}{
	{"syscall/tables_js.go", nil},
	{"syscall/net_js.go", nil},
	{"syscall/syscall_js.go", syscallCalls},
	{"internal/syscall/unix/at_js.go", nil},
	{"internal/syscall/unix/fcntl_js.go", nil},
	{"internal/syscall/unix/net_js.go", nil},
	{"internal/syscall/unix/nonblocking_js.go", nil},
	{"internal/poll/fd_poll_js.go", nil},
	{"time/zoneinfo_wasip1.go", nil},
	{"os/dirent_js.go", nil},
	{"os/executable_wasm.go", nil},
	{"os/pipe_wasm.go", nil},
	{"os/root_js.go", nil},
	{"os/stat_js.go", nil},
	{"os/sys_js.go", nil},
	{"os/exec/lp_wasm.go", nil},
	{"net/fd_js.go", nil},
	{"net/rlimit_js.go", nil},
	{"crypto/x509/root_wasm.go", nil},
	{"crypto/internal/fips140/drbg/entropy_wasm.go", []replacement{{"supported on Wasm", "supported on GOOS=tamago"}}},
}

// syscallCalls takes out of syscall_js.go what asks JavaScript; fs_tamago.go
// has these functions.
var syscallCalls = []replacement{
	{"\nfunc Getuid() int {\n\treturn jsProcess.Call(\"getuid\").Int()\n}\n", ""},
	{"\nfunc Getgid() int {\n\treturn jsProcess.Call(\"getgid\").Int()\n}\n", ""},
	{"\nfunc Geteuid() int {\n\treturn jsProcess.Call(\"geteuid\").Int()\n}\n", ""},
	{"\nfunc Getegid() int {\n\treturn jsProcess.Call(\"getegid\").Int()\n}\n", ""},
	{"\nfunc Getpid() int {\n\treturn jsProcess.Get(\"pid\").Int()\n}\n", ""},
	{"\nfunc Getppid() int {\n\treturn jsProcess.Get(\"ppid\").Int()\n}\n", ""},
	{"\nfunc Umask(mask int) (oldmask int) {\n\treturn jsProcess.Call(\"umask\", mask).Int()\n}\n", ""},
	{`
func Getgroups() (groups []int, err error) {
	defer recoverErr(&err)
	array := jsProcess.Call("getgroups")
	groups = make([]int, array.Length())
	for i := range groups {
		groups[i] = array.Index(i).Int()
	}
	return groups, nil
}
`, ""},
	{"return \"js\", nil", "return \"tamago\", nil"},
}

// likeJS are the folders where tamago is chosen wherever js is.
var likeJS = []string{
	"crypto/x509",
	"internal/filepathlite",
	"internal/poll",
	"internal/syscall/unix",
	"mime",
	"net",
	"os",
	"os/user",
	"path/filepath",
	"syscall",
	"time",
}

// retags are the single files whose constraint changes. In the runtime only
// the memory allocator and the missing system calls follow the wasm targets.
var retags = []struct {
	file   string
	change change
}{
	{"crypto/internal/fips140/drbg/entropy_fips140.go", and("!tamago")},
	{"os/signal/signal_unix.go", like("js")},
	{"runtime/lock_spinbit.go", like("wasm")},
	{"runtime/mem_nonsbrk.go", like("wasm")},
	{"runtime/mem_sbrk.go", like("wasm")},
	{"runtime/mmap.go", like("js")},
	{"runtime/mpagealloc_32bit.go", or("tamago && tiny")},
	{"runtime/mpagealloc_64bit.go", and("!(tamago && tiny)")},
	{"runtime/netpoll.go", like("js")},
	{"runtime/netpoll_fake.go", like("js")},
	{"runtime/sigqueue.go", and("!tamago")},
	{"runtime/stubs2.go", like("js")},
	{"runtime/stubs3.go", like("wasip1")},
	{"runtime/timestub2.go", like("wasip1")},
}

// edits are the places where shared code has to know the target.
var edits = []struct{ file, old, new string }{
	// The tools.
	{"internal/syslist/syslist.go", "\t\"solaris\":   true,\n\t\"wasip1\":    true,\n", "\t\"solaris\":   true,\n\t\"tamago\":    true,\n\t\"wasip1\":    true,\n"},
	{"internal/platform/zosarch.go", "\t{\"wasip1\", \"wasm\"},\n", "\t{\"tamago\", \"amd64\"},\n\t{\"wasip1\", \"wasm\"},\n"},
	{"internal/platform/zosarch.go", "\t{\"wasip1\", \"wasm\"}:", "\t{\"tamago\", \"amd64\"}:   {},\n\t{\"wasip1\", \"wasm\"}:"},
	{"cmd/internal/objabi/head.go", "case \"linux\", \"android\":", "case \"linux\", \"android\", \"tamago\":"},
	{"cmd/go/internal/work/init.go", "func BuildInit(loaderstate *modload.State) {\n", "func BuildInit(loaderstate *modload.State) {\n\tcheckGOOSPKG()\n"},

	// Constants that runtime/goos decides.
	{"runtime/malloc.go", "heapAddrBits = (_64bit*(1-goarch.IsWasm)*(1-goos.IsIos*goarch.IsArm64))*48 +", "heapAddrBits = tamagoHeapAddrBits + (_64bit*(1-isTamago)*(1-goarch.IsWasm)*(1-goos.IsIos*goarch.IsArm64))*48 +"},
	{"runtime/malloc.go", "logHeapArenaBytes = (6+20)*(_64bit*(1-goos.IsWindows)", "logHeapArenaBytes = tamagoLogHeapArenaBytes + (6+20)*(_64bit*(1-isTamago)*(1-goos.IsWindows)"},
	{"runtime/malloc.go", "arenaBaseOffset = 0xffff800000000000*goarch.IsAmd64 +", "arenaBaseOffset = tamagoArenaBaseOffset + 0xffff800000000000*(1-isTamago)*goarch.IsAmd64 +"},
	{"runtime/mpagealloc.go", "logPallocChunkPages = 9*(1-goarch.IsWasm) +", "logPallocChunkPages = tamagoLogPallocChunkPage + 9*(1-isTamago)*(1-goarch.IsWasm) +"},
	{"runtime/stack.go", "stackSystem = goos.IsWindows*4096 +", "stackSystem = tamagoStackSystem + goos.IsWindows*4096 +"},

	// One M: nothing to lock a goroutine to, nobody to watch it.
	{"runtime/proc.go", "const haveSysmon = GOARCH != \"wasm\"", "const haveSysmon = GOARCH != \"wasm\" && isTamago == 0"},
	{"runtime/proc.go", "if GOARCH == \"wasm\" { // no threads on wasm yet\n", "if GOARCH == \"wasm\" || isTamago != 0 { // no threads on wasm yet\n"},
	{"runtime/proc.go", "if GOARCH == \"wasm\" { // no threads yet on wasm\n", "if GOARCH == \"wasm\" || isTamago != 0 { // no threads yet on wasm\n"},
	{"runtime/proc.go", "func dolockOSThread() {\n\tif GOARCH == \"wasm\" {\n", "func dolockOSThread() {\n\tif GOARCH == \"wasm\" || isTamago != 0 {\n"},
	{"runtime/proc.go", "func dounlockOSThread() {\n\tif GOARCH == \"wasm\" {\n", "func dounlockOSThread() {\n\tif GOARCH == \"wasm\" || isTamago != 0 {\n"},
	{"runtime/debug.go", "if GOARCH == \"wasm\" && n > 1 {", "if (GOARCH == \"wasm\" || isTamago != 0) && n > 1 {"},

	// The order of the start: a heap, then random numbers, then the board.
	{"runtime/proc.go", "\trandinit() // must run before mallocinit, alginit, mcommoninit\n\tmallocinit()\n", "\trandinitBeforeMalloc() // must run before mallocinit, alginit, mcommoninit\n\tmallocinit()\n\trandinitAfterMalloc()\n"},
	{"runtime/proc.go", "\tif haveSysmon {\n\t\tsystemstack(func() {\n\t\t\tnewm(sysmon, nil, -1)\n", "\tboardinit()\n\n\tif haveSysmon {\n\t\tsystemstack(func() {\n\t\t\tnewm(sysmon, nil, -1)\n"},
}
