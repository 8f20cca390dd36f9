package scenario

import (
	"errors"
	"os"
	"regexp"
)

// errEmulator makes a run void.
var errEmulator = errors.New("the emulator broke a domain")

// attempts bounds how often a scenario is run when the emulator makes it void. Since domains keep off the processor
// on which it breaks them (machine.DomainCPUs), it has not done so.
const attempts = 3

// Xen reports a domain's triple fault and then the state in which it was. Two states cannot be the domain's fault:
//
//   - Xen's code selector, e008, which no kernel of the lab uses. Xen's first instruction behind VMRUN was fetched
//     with nested paging still on, so QEMU saved the state of Xen itself as that of the domain, and the next VMRUN
//     starts the domain with it.
//   - the stock Linux kernel, at ffffffff81000000 and above. It ends by a panic, never by a triple fault, unless
//     it is made to run without nested paging. Images of ours lie below 4 GB and are not excused. Xen
//     starts such a guest anew, mostly before it has done anything, so this excuses a run only when it fails.
var (
	tripleFault = regexp.MustCompile(`\(XEN\) (d[0-9]+v[0-9]+) Triple fault`)
	faultState  = regexp.MustCompile(`RIP:\s+([0-9a-f]{4}:\[<[0-9a-f]+>\])`)
	foreign     = regexp.MustCompile(`^e008:`)
	excused     = regexp.MustCompile(`^(e008:|0010:\[<ffffffff[89ab])`)
)

// emulatorFault returns the virtual processor that the emulator broke according to Xen's console, or "". states
// says which states are the emulator's fault.
func emulatorFault(console []byte, states *regexp.Regexp) string {
	for {
		m := tripleFault.FindSubmatchIndex(console)
		if m == nil {
			return ""
		}
		vcpu := string(console[m[2]:m[3]])
		console = console[m[1]:]
		// The state is complete when the next line begins.
		if s := faultState.FindSubmatch(console[:min(len(console), 1000)]); s != nil && states.Match(s[1]) {
			return vcpu
		}
	}
}

// brokenDomain is emulatorFault for a log file; a missing one shows nothing.
func brokenDomain(log string, states *regexp.Regexp) string {
	b, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	return emulatorFault(b, states)
}
