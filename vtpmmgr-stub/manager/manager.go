// Package manager decides: who may do what, what is saved when, and when to
// refuse. It knows frames, the store and the hardware TPM, but not Xen.
//
// A client is named by the uuid that the toolstack wrote into the manager's own
// backend directory; nothing that a client sends can change who it is. Clients
// are hostile: each may send any frame at any time. The worst that one can get
// is an error, and the most that it can cost the others is the time of one
// commit.
//
// A manager that cannot have its store, or cannot be sure that it is the newest,
// is degraded: it answers, but with FAIL, and never makes a new store over an
// old one.
package manager

import (
	"errors"
	"io"
	"time"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// Hardware is what the manager needs of the platform's TPM. hwtpm's TPM is one.
// Its errors are hwtpm's.
type Hardware interface {
	Anchor() (hwtpm.Anchor, error)
	SetAnchor(hwtpm.Anchor) error
	Seal(secret []byte, p hwtpm.Policy) (*hwtpm.Binding, error)
	Unseal(b *hwtpm.Binding) ([]byte, error)
	Origin(b *hwtpm.Binding, info []byte) (hwtpm.Origin, error)
	MakeCounter(auth []byte) (uint64, error)
	OpenCounter(auth []byte) (uint64, error)
	Counter() (uint64, error)
	Increment() error
	GetRandom(n int) ([]byte, error)
	Entropy(n int) ([]byte, error)
	PCRs(s proto.PCRSelection) ([][]byte, error)
}

// Config of a manager. HW and Disk may be nil, with the reason in HWErr and
// DiskErr: the manager then starts degraded.
type Config struct {
	Disk    store.Disk
	DiskErr error
	HW      Hardware
	HWErr   error

	PCRs        proto.PCRSelection // of the local policy
	TPM12       bool               // HW is a TPM 1.2
	RollbackOff bool               // do not tie the store to the hardware counter
	Forget      proto.UUID         // make a new store although the hardware remembers this one
	Authority   [32]byte           // SHA-256 of the root authority's TPMT_PUBLIC; zero: any
	Adopt       proto.UUID         // take this manager's store once without a proof of its making
	Rand        io.Reader
	Now         func() time.Time // for the event log and the time of a start; nil = no times
	Clock       func() int64     // monotonic ns, for the rates of clients; nil = no rates
	SaveRate    uint32           // saves an hour of a client beyond its burst; 0 = no limit
	Logf        func(format string, args ...any)
}

// Errors of start, beside those of store and hwtpm.
var (
	ErrBlanked       = errors.New("disk is blank, but the hardware TPM remembers a store: put its disk back, or give up what was in it with forget=")
	ErrOtherManager  = errors.New("disk belongs to another manager than the one that the hardware TPM remembers")
	ErrRollback      = errors.New("disk is older than the hardware TPM's counter: an old disk was put back")
	ErrCounterBehind = errors.New("hardware TPM's counter is behind the disk: the TPM was exchanged or reset")
	ErrKeyFile       = errors.New("key area is malformed or of a newer version")
	ErrCounterMoved  = errors.New("hardware TPM's counter moved by itself: another manager uses it")
)

// ClientID names a connection: a frontend and its device.
type ClientID struct {
	Domain uint16
	Handle uint32
}

// Request is one frame of one client.
type Request struct {
	Client ClientID
	UUID   proto.UUID // from the manager's own backend directory
	Admin  bool       // the frontend is the administrator's
	Frame  []byte
}

// Manager serves requests. Not safe for concurrent use.
type Manager struct {
	c        Config
	console  *console
	logf     func(string, ...any) // the console's
	store    *store.Store
	degraded error     // why LOAD and SAVE are refused, nil if they are not
	began    time.Time // of the start, until it has succeeded or failed; zero without a clock

	secret   rootSecret
	opened   []byte // the key area that it was opened with
	unproven bool   // the root was taken on trust (origin.go)
	nv       uint64 // the hardware counter's value
	owed     bool   // the disk's counter is nv+1, and the increment is still to be made
	unsure   bool   // an increment was sent, and whether it was made is not known
	stuck    error  // why an increment could not be made for the requests at hand; the next ones try again
	taken    func() // takes the last commit over into memory, once it counts
	open     map[proto.UUID]ClientID
	groups   map[proto.UUID]*group
	events   eventLog
	turns    turns
	admin    adminState
	ca       *authority
	Metrics  Metrics
}

// Metrics counts since start.
type Metrics struct {
	Requests, Saves, Loads, Refusals, Commits uint64
}

// New makes a manager and starts it. It is always usable; the error says why it
// is degraded, and has been logged.
func New(c Config) (*Manager, error) {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	log := newConsole(c)
	m := &Manager{c: c, console: log, logf: log.logf, open: map[proto.UUID]ClientID{}, groups: map[proto.UUID]*group{}}
	if c.Now != nil {
		m.began = c.Now()
	}
	err := m.start()
	m.began = time.Time{} // a recovery takes as long as its operator
	if err != nil {
		m.degrade(err)
	}
	return m, err
}

// degrade stops loads and saves for good, with one line that says why.
func (m *Manager) degrade(err error) {
	if m.degraded == nil {
		m.degraded = err
		defer m.console.charge(nil)() // whoever was served: the operator must read it
		m.logf("REFUSING to serve vTPM keys: %v", err)
	}
}

// Degraded is why the manager refuses loads and saves, nil if it does not.
func (m *Manager) Degraded() error { return m.degraded }

// Disconnected forgets a connection: what it had open may be opened again.
func (m *Manager) Disconnected(c ClientID) {
	for u, by := range m.open {
		if by == c {
			delete(m.open, u)
		}
	}
	m.turns.leave(c)
}
