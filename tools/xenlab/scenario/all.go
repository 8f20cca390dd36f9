package scenario

import (
	"time"

	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/report"
)

// All returns the scenarios, in the order in which a person would run them.
func All() []*Scenario {
	return []*Scenario{toolstack()}
}

// toolstack checks the lab itself.
func toolstack() *Scenario {
	return &Scenario{
		Name: "toolstack", About: "Xen, dom0 and a stock Debian guest without a TPM", Guest: true, TPM: machine.TPM20,
		Phases: []Phase{{Name: "toolstack", Timeout: 4 * time.Minute, Job: report.Job{Step: "toolstack"}}},
	}
}
