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
	// Hashing reports whether a HashStart has had no HashEnd.
	Hashing() bool
	// Established is the TPM's tpmEstablished flag.
	Established() bool
	ResetEstablished(locality uint8) error
	// Permanent and Volatile encode the state of now.
	Permanent() ([]byte, error)
	Volatile() ([]byte, error)
}

// Supply is what a TPM gets when it is powered.
type Supply struct {
	// Permanent is its state; nil makes a new TPM.
	Permanent []byte
	// Volatile, where there is one, resumes where that TPM was.
	Volatile []byte
	// MaxSize bounds commands and responses, in bytes.
	MaxSize int
	// Persist must be called before a command that changed the permanent state is answered.
	Persist func([]byte) error
	// Cancelled is asked in long commands.
	Cancelled func() bool
}

// Power makes an engine. An error that wraps ErrVolatile says that without the volatile state
// it would have been made.
type Power func(Supply) (Engine, error)

// ErrVolatile says that volatile state cannot be used.
var ErrVolatile = errors.New("the volatile state cannot be used")

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
	Startup          []byte // command of Start; nil: none
	Logf             func(format string, a ...any)
	LogLevel         LogLevel
}

// Machine is a TPM with its power switch. Its methods may be called from several
// goroutines; Cancel may interrupt a command that another one runs.
type Machine struct {
	cfg       Config
	cancelled atomic.Bool
	powered   atomic.Bool // engine is not nil

	mu       sync.Mutex // guards what follows
	engine   Engine     // nil: no power
	locality uint8
	bufSize  int // agreed size; 0: MaxCommand
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
// (InitDeleteVolatile): a second use would set the PCRs back. With deleteVolatile
// volatile state in storage that cannot be used is deleted and not in the way.
func (m *Machine) PowerOn(deleteVolatile bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.powerOn(deleteVolatile)
}

// Start is the power-on of a program that waits for no init: with the Startup command of the
// configuration, which later inits do not repeat: whoever sends those decides about
// Startup, and a Resume stays possible.
func (m *Machine) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.powerOn(false); err != nil {
		return err
	}
	return m.startup()
}

func (m *Machine) powerOn(deleteVolatile bool) error {
	m.off()
	m.cancelled.Store(false)
	if err := m.cfg.Storage.Lock(0); err != nil {
		return err
	}
	e, err := m.power(deleteVolatile)
	if err != nil {
		return err
	}
	if err := m.cfg.Storage.Delete(statefile.Volatile); err != nil {
		return err
	}
	m.engine = e
	m.powered.Store(true)
	m.debugf(LogEvents, "the TPM has power; commands and responses have at most %d octets", m.size())
	return nil
}

// size is the agreed size of commands and responses.
func (m *Machine) size() int {
	if m.bufSize == 0 {
		return MaxCommand
	}
	return m.bufSize
}

// SetSize agrees on the size of commands and responses, for a TPM without power.
// The size is within what control requests allow; 0 only asks.
func (m *Machine) SetSize(n uint32) (size uint32, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n != 0 {
		if m.engine != nil {
			return 0, fmt.Errorf("buffer size: %w", errRunning)
		}
		m.bufSize = int(max(minBuffer, min(n, MaxCommand)))
	}
	return uint32(m.size()), nil
}

// startup runs the Startup command of the configuration.
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
	if m.engine != nil {
		m.debugf(LogEvents, "the TPM has no power any more")
	}
	m.off()
}

func (m *Machine) off() {
	// The locality stays: QEMU sends it when it changes, and an init does not change it for QEMU.
	m.engine = nil
	m.powered.Store(false)
}

// On reports whether the TPM has power.
func (m *Machine) On() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engine != nil
}

// Cancel asks a running command to stop.
func (m *Machine) Cancel() { m.cancelled.Store(true) }

// CancelCommand is Cancel for a client, which has to have given the TPM power. It does not wait
// for the command that runs.
func (m *Machine) CancelCommand() error {
	if !m.powered.Load() {
		return errNoPower
	}
	m.Cancel()
	return nil
}

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
	if m.cfg.LogLevel < LogCommands {
		return m.engine.Execute(locality, cmd, rsp)
	}
	return m.logged(locality, cmd, rsp)
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

// badFrame is the answer to a frame that is no command.
func (m *Machine) badFrame(rsp []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.engine == nil {
		return m.failure(rsp)
	}
	return m.answer(rsp, 0x142) // TPM_RC_COMMAND_SIZE
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
