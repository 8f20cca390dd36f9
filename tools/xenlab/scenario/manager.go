package scenario

import (
	"time"

	"xenvtpm/tools/xenlab/machine"
	"xenvtpm/tools/xenlab/report"
)

// manager administers a manager from dom0, attests a vTPM, and puts old and foreign disks in.
func manager() *Scenario {
	return &Scenario{
		Name: "manager", About: "vtpmctl in dom0, attestation, old disks, disks of another machine", Needs: stubs, Guest: true,
		TPM: machine.TPM20,
		Phases: []Phase{
			{Name: "admin", Timeout: 30 * time.Minute, Job: report.Job{Step: "manager"}},
			{Name: "foreign", Timeout: 15 * time.Minute, Job: report.Job{Step: "moved"}, OtherTPM: true},
		},
	}
}

// manager12 is the same, as far as it goes, over a TPM 1.2.
func manager12() *Scenario {
	return &Scenario{
		Name: "manager12", About: "the hardware TPM is a TPM 1.2: a vTPM, vtpmctl, old disks, disks of another machine", Needs: stubs,
		TPM: machine.TPM12,
		Phases: []Phase{
			{Name: "tpm12", Timeout: 30 * time.Minute, Job: report.Job{Step: "manager12"}},
			{Name: "foreign12", Timeout: 15 * time.Minute, Job: report.Job{Step: "foreign"}, OtherTPM: true},
		},
	}
}

// storm runs twenty vTPM domains on one manager, with a hostile client among them.
func storm() *Scenario {
	return &Scenario{
		Name: "storm", About: "20 vTPM domains save at once, beside a hostile client of the manager", Needs: stubs,
		TPM:    machine.TPM20,
		Phases: []Phase{{Name: "storm", Timeout: 30 * time.Minute, Job: report.Job{Step: "storm"}}},
	}
}

// many attaches more vTPM devices to a manager than xenstored's default limit allows, and then more than that. It took
// 20 minutes on two processors with six times the work that they could do.
func many() *Scenario {
	return &Scenario{
		Name: "many", About: "200 vTPM devices on one manager; what happens at xenstored's limit", Needs: stubs, TPM: machine.TPM20,
		Phases: []Phase{{Name: "many", Timeout: 20 * time.Minute, Job: report.Job{Step: "many"}}},
	}
}

// restart ends the manager while a guest saves, and starts it anew.
func restart() *Scenario {
	return &Scenario{
		Name: "restart", About: "the manager is started anew under a guest that saves without a pause", Needs: stubs, Guest: true,
		TPM:    machine.TPM20,
		Phases: []Phase{{Name: "restart", Timeout: 30 * time.Minute, Job: report.Job{Step: "restart"}}},
	}
}
