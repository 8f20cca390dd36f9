package dom0

import (
	"errors"
	"time"

	"xenvtpm/tools/xlconf"
)

// bootCase is one way to boot an image and what must come of it.
type bootCase struct {
	what     string // "" is "boots, prints SUCCESS and powers off"
	extra    string
	iomem    string
	cpuid    string
	diskMB   int64
	expect   []string      // that the console shows; nil is SUCCESS
	shutdown string        // ask it to power off when it shows this
	crash    bool          // it must end with the crash reason
	limit    time.Duration // 0 is smokeLimit
}

const smokeLimit = 90 * time.Second

// smokeCases are the kernels that need more than memory, or that end otherwise than by saying SUCCESS.
var smokeCases = map[string][]bootCase{
	"smoke-tis": {{iomem: "fed40,5"},
		// While firmware has left locality 0 active.
		{what: "boots, prints SUCCESS and powers off, at locality 2", iomem: "fed40,5", extra: "locality=2"}},
	"smoke-rng": {{},
		// As Xen does it by itself on some processors.
		{what: "says which cpuid= it needs where Xen hides RDRAND, and ends as a crash", cpuid: "rdrand=0", crash: true,
			expect: []string{"no RDRAND", `cpuid = "host,rdrand=1"`}}},
	"smoke-blk":      {{diskMB: 4}},
	"smoke-console":  {{expect: []string{"line 2999 of 3000", "SUCCESS"}}},
	"smoke-shutdown": {{what: "powers off when asked to", shutdown: "ready", expect: []string{"SUCCESS"}}},
	"smoke-panic": {{what: "shows Go's trace and ends as a crash", crash: true,
		expect: []string{"goroutine 1 [running]"}}},
	"smoke-exception": {exception("nil"), exception("code"), exception("constant"), exception("execute"),
		exception("nowhere"), exception("behind"), exception("guard"),
		// The runtime itself ends it: the stack grows until there is no memory.
		{what: "reports a stack overflow and ends as a crash", crash: true, extra: "kind=overflow",
			expect: []string{"raising overflow", "fatal error: "}}},
}

func exception(kind string) bootCase {
	return bootCase{what: "reports the exception " + kind + " and ends as a crash", crash: true,
		extra: "kind=" + kind, expect: []string{"raising " + kind, "exception ", "return addresses:"}}
}

// smokeStep boots every smoke kernel there is.
func smokeStep(l *Lab) error {
	if len(l.images) == 0 {
		return errors.New("there are no smoke kernels")
	}
	for _, name := range l.images {
		cases := smokeCases[name]
		if cases == nil {
			cases = []bootCase{{}}
		}
		for _, c := range cases {
			image := xlconf.Image{Common: xlconf.Common{Name: name, MemoryMB: 16}}
			if err := l.bootImage(image, c); err != nil {
				return err
			}
		}
	}
	return l.onlyDom0Left()
}
