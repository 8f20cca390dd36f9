package service

// Boot is what the toolstack says about the start of a guest.
type Boot uint8

// Values of Boot.
const (
	BootUnsaid  Boot = iota // nothing: stock xl
	BootNew                 // it boots: its memory is new
	BootRestore             // it goes on with the memory that was saved
)

// An Attachment is a device between the toolstack's making and removing it.
// Everything in it is the toolstack's word: a guest cannot have another one by
// reloading its driver, and a domain number that is used again is another one.
type Attachment struct {
	ID       uint64   // never used again while the vTPM runs
	Previous uint64   // the one before with the same UUID; 0: none
	Domain   uint16   // whose device it is
	For      uint16   // the domain that it works for; 0: its own
	UUID     [16]byte // of the device
	Boot     Boot
}

// guest is the domain whose TPM this is, as far as this attachment goes.
func (a Attachment) guest() uint16 {
	if a.For != 0 {
		return a.For
	}
	return a.Domain
}

// helper reports whether the attachment works for another domain, as a program
// does that measures a guest's kernel.
func (a Attachment) helper() bool { return a.For != 0 && a.For != a.Domain }

// administrator reports whether domain 0 looks at the TPM for itself. It is no
// user: the TPM is not reset for it, and it keeps nobody's boot from being one.
func (a Attachment) administrator() bool { return a.guest() == 0 }
