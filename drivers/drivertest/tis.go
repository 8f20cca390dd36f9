package drivertest

import (
	"encoding/binary"
	"math"
	"time"
)

// TIS models a TPM's FIFO registers (TIS 1.3, PTP 1.05), for one owner of one
// locality at a time, with faults. It implements tis.Regs. Times are those of
// Clock, which every access moves a little.
type TIS struct {
	Clock   *Clock
	Execute func(locality uint8, cmd []byte) []byte
	Delay   time.Duration // from tpmGo to dataAvail
	Burst   int           // bytes per burst; default 64
	TPM12   bool          // tpmFamily says 1.2: no commandCancel

	// Faults.
	Floating    bool                 // nothing there: all reads are ones
	CRB         bool                 // the interface is set to CRB
	NeverValid  bool                 // tpmRegValidSts stays 0
	NeverReady  bool                 // commandReady stays 0
	NeverData   bool                 // no command ends
	BurstZero   bool                 // burstCount stays 0
	ExpectStuck bool                 // Expect stays 1
	ExpectLost  bool                 // Expect is 0 from the start
	CutResponse int                  // so many times dataAvail ends after 12 bytes
	Overrun     int                  // so many times dataAvail stays 1 after the response
	BusyUntil   int64                // until then locality 4 owns the TPM; then it lets go
	SeizeAfter  int                  // after so many FIFO accesses another locality takes over
	Hidden      [5]bool              // localities whose registers read as ones
	NoSeize     bool                 // Seize is ignored
	OnGo        func(locality uint8) // called at tpmGo

	owner    int // locality + 1; 0: nobody
	wanted   int // locality + 1 whose requestUse is pending
	ready    bool
	in       []byte
	out      []byte
	pos      int
	doneAt   int64
	running  bool
	pending  []byte
	accesses int
	Aborts   int // commands ended by commandReady
	Cancels  int // commandCancel writes that met a running command
}

// LeaveActive makes locality the active one, as firmware or a domain that was
// destroyed leaves it: waiting for a command if ready, idle if not.
func (m *TIS) LeaveActive(locality int, ready bool) { m.owner, m.ready = locality+1, ready }

// hidden reports whether the register at off is not there.
func (m *TIS) hidden(off uint32) bool {
	return m.Floating || off>>12 < uint32(len(m.Hidden)) && m.Hidden[off>>12]
}

// busyOwner marks a TPM in somebody else's hands.
const busyOwner = 99

func (m *TIS) tick() int {
	m.Clock.Sleep(time.Microsecond)
	if m.BusyUntil > 0 {
		m.owner = busyOwner
		if m.Clock.Now() >= m.BusyUntil {
			m.BusyUntil, m.owner, m.wanted = 0, m.wanted, 0
		}
	}
	if m.running && m.Clock.Now() >= m.doneAt && !m.NeverData {
		m.running, m.out, m.pos = false, m.pending, 0
	}
	if m.Burst == 0 {
		return 64
	}
	return m.Burst
}

// Read8 implements tis.Regs.
func (m *TIS) Read8(off uint32) uint8 {
	m.tick()
	if m.hidden(off) {
		return 0xFF
	}
	loc := off >> 12
	switch off & 0xFFF {
	case 0x000:
		return m.readAccess(int(loc))
	case 0x018:
		return uint8(m.readStatus(int(loc)))
	case 0x024:
		return m.readFifo(int(loc))
	}
	return 0xFF
}

func (m *TIS) readAccess(loc int) uint8 {
	var a uint8
	if !m.NeverValid {
		a |= 0x80
	}
	if m.owner == loc+1 {
		a |= 0x20
	}
	return a | 0x01
}

func (m *TIS) readStatus(loc int) uint32 {
	if m.owner != loc+1 {
		return math.MaxUint32
	}
	sts := uint32(0x80)
	if !m.TPM12 {
		sts |= 1 << 26
	}
	if !m.BurstZero {
		sts |= uint32(m.tick()) << 8
	}
	if m.ready && !m.NeverReady {
		sts |= 0x40
	}
	if m.expect() {
		sts |= 0x08
	}
	if m.pos < len(m.out) || len(m.out) > 0 && m.Overrun > 0 {
		sts |= 0x10
	}
	return sts
}

// expect is TPM_STS.Expect: more bytes of the command are due.
func (m *TIS) expect() bool {
	switch {
	case m.ExpectStuck:
		return true
	case m.ExpectLost || len(m.in) == 0 && !m.ready:
		return false
	case len(m.in) < 6:
		return true
	}
	return uint64(len(m.in)) < uint64(binary.BigEndian.Uint32(m.in[2:]))
}

func (m *TIS) readFifo(loc int) uint8 {
	if m.owner != loc+1 || m.pos >= len(m.out) {
		return 0xFF
	}
	m.fifo()
	b := m.out[m.pos]
	m.pos++
	if m.CutResponse > 0 && m.pos == 12 {
		m.CutResponse--
		m.out = m.out[:12:len(m.pending)]
	}
	return b
}

func (m *TIS) fifo() {
	m.accesses++
	if m.SeizeAfter > 0 && m.accesses >= m.SeizeAfter {
		m.owner = busyOwner
	}
}

// Write8 implements tis.Regs.
func (m *TIS) Write8(off uint32, v uint8) {
	m.tick()
	loc := int(off >> 12)
	if m.hidden(off) {
		return
	}
	switch off & 0xFFF {
	case 0x000:
		m.writeAccess(loc, v)
	case 0x018:
		if m.owner == loc+1 {
			m.writeStatus(loc, uint32(v))
		}
	case 0x024:
		if m.owner == loc+1 && (m.ready || len(m.in) > 0) {
			m.ready = false
			m.in = append(m.in, v)
			m.fifo()
		}
	}
}

func (m *TIS) writeAccess(loc int, v uint8) {
	switch {
	case v&0x20 != 0 && m.owner == loc+1:
		m.become(m.wanted)
	case v&0x20 != 0 && m.wanted == loc+1:
		m.wanted = 0
	case v&0x02 != 0 && m.owner == 0:
		m.owner = loc + 1
	case v&0x08 != 0 && loc+1 > m.owner && !m.NoSeize:
		m.become(loc + 1)
	case v&0x02 != 0:
		m.wanted = loc + 1
	}
}

// become makes another locality the active one; what the old one was at is lost.
func (m *TIS) become(owner int) {
	m.owner, m.wanted = owner, 0
	m.running, m.ready, m.in, m.out = false, false, nil, nil
}

func (m *TIS) writeStatus(loc int, v uint32) {
	switch {
	case v&0x40 != 0:
		if m.running {
			m.Aborts++
		}
		m.running, m.in, m.out, m.ready = false, nil, nil, true
	case v&0x20 != 0:
		cmd := m.in
		m.in, m.ready = nil, false
		m.pending = m.Execute(uint8(loc), cmd)
		m.running, m.doneAt = true, m.Clock.Now()+int64(m.Delay)
		if m.OnGo != nil {
			m.OnGo(uint8(loc))
		}
	case v&0x02 != 0:
		m.out, m.pos = m.pending, 0
		if m.Overrun > 0 {
			m.Overrun--
		}
	case v&(1<<24) != 0 && m.running && !m.TPM12:
		m.Cancels++
		m.pending = []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x09} // TPM_RC_CANCELED
		m.doneAt = m.Clock.Now()
	}
}

// Read32 implements tis.Regs.
func (m *TIS) Read32(off uint32) uint32 {
	m.tick()
	if m.hidden(off) {
		return math.MaxUint32
	}
	switch off & 0xFFF {
	case 0x018:
		return m.readStatus(int(off >> 12))
	case 0x030:
		if m.CRB {
			return 0x01
		}
		return 0xF0
	case 0xF00:
		return 0x00011014
	}
	return math.MaxUint32
}

// Write32 implements tis.Regs.
func (m *TIS) Write32(off uint32, v uint32) {
	m.tick()
	if loc := int(off >> 12); off&0xFFF == 0x018 && !m.hidden(off) && m.owner == loc+1 {
		m.writeStatus(loc, v)
	}
}
