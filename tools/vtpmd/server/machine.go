// Package server serves one TPM over swtpm's two sockets: TPM commands on the
// data channel, power and state on the control channel.
//
// Clients of either channel control every byte they send. A bad TPM command
// gets the TPM's own error, a bad control request ends that connection.
package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"xenvtpm/tools/vtpmd/ptm"
	"xenvtpm/tools/vtpmd/statefile"
)

// Engine is a powered TPM.
type Engine interface {
	// Execute runs one command and returns the response, in rsp's memory where it fits.
	Execute(locality uint8, cmd, rsp []byte) []byte
	// HashStart, HashData and HashEnd are the _TPM_Hash_* indications.
	HashStart() error
	HashData(data []byte) error
	HashEnd() error
	// Established is the TPM's tpmEstablished flag.
	Established() bool
	ResetEstablished(locality uint8) error
	// Permanent and Volatile encode the state of now.
	Permanent() ([]byte, error)
	Volatile() ([]byte, error)
}

// Power makes an engine: a new TPM when permanent is nil, else the one whose state it is.
// A non-nil volatile state resumes where that TPM was. Persist must be called before
// a command that changed the permanent state is answered; cancelled is asked in long commands.
type Power func(permanent, volatile []byte, persist func([]byte) error, cancelled func() bool) (Engine, error)

// Storage keeps the two kinds of state; statefile has two implementations.
type Storage interface {
	Load(statefile.Kind) ([]byte, error)
	Store(statefile.Kind, []byte) error
	Delete(statefile.Kind) error
	Lock(retry time.Duration) error
	Unlock() error
}

// Config joins a machine's parts.
type Config struct {
	Power            Power
	Storage          Storage
	FileKey          *statefile.Key // what Storage encrypts with; nil: nothing
	MigrationKey     *statefile.Key // what blobs are encrypted with on the control channel
	RejectLocality4  bool
	AllowSetLocality bool
	TPM2             bool
	Startup          []byte // command sent after power-on; nil: none
	Logf             func(format string, a ...any)
}

// Machine is a TPM with its power switch. Its methods may be called from several
// goroutines; Cancel may interrupt a command that another one runs.
type Machine struct {
	cfg       Config
	cancelled atomic.Bool

	mu       sync.Mutex // guards what follows
	engine   Engine     // nil: no power
	locality uint8
	// blobs set by SetStateBlob, used instead of storage at the next Init.
	incoming map[statefile.Kind][]byte
}

// New returns a machine without power.
func New(cfg Config) *Machine {
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	return &Machine{cfg: cfg, incoming: map[statefile.Kind][]byte{}}
}

// PowerOn is _TPM_Init: it (re)starts the TPM from its saved state. Saved volatile state
// is used once and deleted, whether the client says so or not
// (InitDeleteVolatile): a second use would set the PCRs back.
func (m *Machine) PowerOn() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.engine, m.locality = nil, 0
	m.cancelled.Store(false)
	if err := m.cfg.Storage.Lock(0); err != nil {
		return err
	}
	if err := m.takeIncoming(); err != nil {
		return err
	}
	permanent, err := m.load(statefile.Permanent)
	if err != nil {
		return err
	}
	volatile, err := m.load(statefile.Volatile)
	if err != nil {
		return err
	}
	e, err := m.cfg.Power(permanent, volatile, m.persist, m.cancelled.Load)
	if err != nil {
		return err
	}
	if err := m.cfg.Storage.Delete(statefile.Volatile); err != nil {
		return err
	}
	m.engine = e
	return m.startup()
}

func (m *Machine) startup() error {
	if m.cfg.Startup == nil {
		return nil
	}
	rsp := m.engine.Execute(0, m.cfg.Startup, nil)
	// A TPM that was resumed has started already; that is no failure.
	const initialized, postInit = 0x100, 38
	if len(rsp) < 10 {
		return errors.New("the TPM did not answer its Startup command")
	}
	if rc := binary.BigEndian.Uint32(rsp[6:]); rc != 0 && rc != initialized && rc != postInit {
		return fmt.Errorf("the TPM answered its Startup command with 0x%x", rc)
	}
	return nil
}

func (m *Machine) load(k statefile.Kind) ([]byte, error) {
	p, err := m.cfg.Storage.Load(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return p, err
}

func (m *Machine) takeIncoming() error {
	for k, p := range m.incoming {
		if err := m.cfg.Storage.Store(k, p); err != nil {
			return err
		}
		delete(m.incoming, k)
	}
	return nil
}

func (m *Machine) persist(blob []byte) error {
	err := m.cfg.Storage.Store(statefile.Permanent, blob)
	if err != nil {
		m.cfg.Logf("state is not saved: %v", err)
	}
	return err
}

// PowerOff drops the TPM; what was permanent is already saved.
func (m *Machine) PowerOff() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.engine = nil
}

// On reports whether the TPM has power.
func (m *Machine) On() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engine != nil
}

// Cancel asks a running command to stop.
func (m *Machine) Cancel() { m.cancelled.Store(true) }

// SetLocality sets the locality of later commands.
func (m *Machine) SetLocality(l uint8) uint32 {
	if l > 4 || l == 4 && m.cfg.RejectLocality4 {
		return ptm.BadLocality
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locality = l
	return ptm.Success
}

// Execute runs one command; the response is written into rsp where it fits.
func (m *Machine) Execute(cmd, rsp []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.execute(m.locality, cmd, rsp)
}

// ExecuteAt runs one command at a locality that came with it.
func (m *Machine) ExecuteAt(locality uint8, cmd, rsp []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if locality > 4 || locality == 4 && m.cfg.RejectLocality4 {
		return m.failure(rsp)
	}
	return m.execute(locality, cmd, rsp)
}

func (m *Machine) execute(locality uint8, cmd, rsp []byte) []byte {
	if l, ok := setLocality(cmd); ok && m.cfg.AllowSetLocality {
		if l > 4 || l == 4 && m.cfg.RejectLocality4 {
			return m.failure(rsp)
		}
		m.locality = l
		return m.answer(rsp, 0)
	}
	if m.engine == nil {
		return m.failure(rsp)
	}
	m.cancelled.Store(false)
	return m.engine.Execute(locality, cmd, rsp)
}

// ccSetLocality is the vendor command by which Linux's vTPM proxy driver
// announces the locality of the commands that follow: 10 bytes header, 1 byte.
const ccSetLocality = 0x20001000

func setLocality(cmd []byte) (uint8, bool) {
	if len(cmd) != 11 || binary.BigEndian.Uint32(cmd[6:]) != ccSetLocality {
		return 0, false
	}
	return cmd[10], true
}

func (m *Machine) failure(rsp []byte) []byte {
	if m.cfg.TPM2 {
		return m.answer(rsp, 0x101) // TPM_RC_FAILURE
	}
	return m.answer(rsp, ptm.Fail)
}

func (m *Machine) answer(rsp []byte, code uint32) []byte {
	tag := uint16(0x00c4)
	if m.cfg.TPM2 {
		tag = 0x8001
	}
	rsp = binary.BigEndian.AppendUint16(rsp[:0], tag)
	rsp = binary.BigEndian.AppendUint32(rsp, 10)
	return binary.BigEndian.AppendUint32(rsp, code)
}
