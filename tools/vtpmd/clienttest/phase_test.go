package clienttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A phase is a moment at which a machine may be saved.
type phase struct {
	name string
	// reach brings a TPM without power to the moment; what it returns is for check.
	reach func(m *mover) any
	// check uses the TPM that was moved, and wants it to go on from there.
	check func(m *mover, reached any)
}

// mover is a vtpmd with its control connection.
type mover struct {
	t *testing.T
	d *unixDaemon
	c *net.UnixConn
}

func newMover(t *testing.T, state string) *mover {
	t.Helper()
	d := startUnix(t, state, "--profile", "name=xenvtpm-v1") // with timers
	return &mover{t, d, d.control(t)}
}

// control sends a request and wants success.
func (m *mover) control(request string) {
	m.t.Helper()
	ask(m.t, m.c, request, "00000000")
}

// code is the response code of a command.
func (m *mover) code(cmd []byte, want uint32) {
	m.t.Helper()
	if rc := m.d.anyCode(cmd); rc != want {
		m.t.Errorf("%x: response code 0x%x, want 0x%x", cmd, rc, want)
	}
}

// blob gets a state blob.
func (m *mover) blob(kind string) []byte {
	m.t.Helper()
	if _, err := m.c.Write(hx("0000000c" + "00000001" + kind + "00000000")); err != nil {
		m.t.Fatal(err)
	}
	var head [16]byte
	if _, err := io.ReadFull(m.c, head[:]); err != nil || !bytes.Equal(head[:4], make([]byte, 4)) {
		m.t.Fatalf("blob %s: %x, %v\n%s", kind, head, err, m.d.Output())
	}
	b := make([]byte, binary.BigEndian.Uint32(head[12:]))
	if _, err := io.ReadFull(m.c, b); err != nil {
		m.t.Fatal(err)
	}
	return b
}

// byBlobs goes on in another vtpmd, as a migration does.
func (m *mover) byBlobs() *mover {
	m.t.Helper()
	to := newMover(m.t, m.t.TempDir())
	for _, kind := range []string{"00000001", "00000002"} {
		b := m.blob(kind)
		request := binary.BigEndian.AppendUint32(hx("0000000d"+"00000000"+kind), uint32(len(b)))
		if _, err := to.c.Write(append(request, b...)); err != nil {
			m.t.Fatal(err)
		}
		answered(m.t, to.c, "00000000")
	}
	m.d.Kill()
	to.control("0000000200000001")
	return to
}

// byFile goes on in another process on the same folder, as a machine does that was saved with its folder.
func (m *mover) byFile() *mover {
	m.t.Helper()
	m.control("0000000a")
	m.d.Kill()
	to := newMover(m.t, m.d.state)
	to.control("0000000200000000")
	return to
}

// Commands of the table.
var (
	cmdStartupState  = hx("80010000000c000001440001")
	cmdShutdownState = hx("80010000000c000001450001")
	cmdReadClock     = hx("80010000000a00000181")
	cmdTestResult    = hx("80010000000a0000017c")
)

const initOn = "0000000200000000"

// on and started are the usual beginnings.
func (m *mover) on()      { m.t.Helper(); m.control(initOn) }
func (m *mover) started() { m.t.Helper(); m.on(); m.d.tpm(cmdStartup) }

// phases are all that a TPM goes through.
var phases = []phase{
	{"power", func(m *mover) any { m.on(); return nil }, func(m *mover, _ any) {
		m.code(cmdReadClock, 0x100)
		m.d.tpm(cmdStartup, cmdPCRRead16)
	}},
	{"power after a shutdown for resume", func(m *mover) any {
		m.started()
		m.d.tpm(extendPCR(0, 1), cmdShutdownState)
		m.on()
		return nil
	}, func(m *mover, _ any) {
		m.d.tpm(cmdStartupState)
		m.pcr(cmdPCRRead0, pcrOf(1))
	}},
	{"measuring before Startup", func(m *mover) any { m.on(); m.measure("ab"); return m.measured("abcd") }, func(m *mover, want any) {
		m.control("00000007" + "00000002" + "6364")
		m.control("00000008")
		m.d.tpm(cmdStartup)
		m.pcr(cmdPCRRead0, want.([]byte))
	}},
	{"Startup(CLEAR)", func(m *mover) any {
		m.started()
		m.d.tpm(define(0x01500001), write(0x01500001, 5), extend16(7))
		return nil
	}, func(m *mover, _ any) {
		m.code(cmdStartup, 0x100)
		m.pcr(cmdPCRRead16, pcrOf(7))
		if v := value(m.d.tpm(read(0x01500001))); v != 5 {
			m.t.Errorf("NV holds %d", v)
		}
	}},
	{"Startup(STATE)", func(m *mover) any {
		m.started()
		m.d.tpm(extendPCR(0, 1), cmdShutdownState)
		m.on()
		m.d.tpm(cmdStartupState)
		return nil
	}, func(m *mover, _ any) { m.code(cmdStartup, 0x100); m.pcr(cmdPCRRead0, pcrOf(1)) }},
	{"Startup(CLEAR) after a shutdown for resume", func(m *mover) any {
		m.started()
		m.d.tpm(extendPCR(0, 1), cmdShutdownState)
		m.on()
		m.d.tpm(cmdStartup)
		return m.counts()
	}, func(m *mover, want any) {
		m.pcr(cmdPCRRead0, make([]byte, 32))
		if got := m.counts(); got != want {
			m.t.Errorf("resetCount and restartCount are %x, were %x", got, want)
		}
	}},
	{"Shutdown(STATE)", func(m *mover) any { m.started(); m.d.tpm(extendPCR(0, 1), cmdShutdownState); return nil }, func(m *mover, _ any) {
		m.on()
		m.d.tpm(cmdStartupState)
		m.pcr(cmdPCRRead0, pcrOf(1))
	}},
	{"Shutdown(CLEAR)", func(m *mover) any { m.started(); m.d.tpm(cmdShutdown); return nil }, func(m *mover, _ any) {
		m.on()
		m.code(cmdStartupState, 0x1c4)
		m.d.tpm(cmdStartup)
	}},
	{"self test", func(m *mover) any {
		m.started()
		m.d.tpm(hx("80010000001000000142" + "00000001" + "000b"))
		return hex.EncodeToString(m.d.tpm(cmdTestResult))
	}, func(m *mover, want any) {
		if got := hex.EncodeToString(m.d.tpm(cmdTestResult)); got != want {
			m.t.Errorf("test result %s, was %s", got, want)
		}
		m.d.tpm(hx("80010000000b0000014301"))
	}},
	{"failure mode", func(m *mover) any {
		m.started()
		m.d.tpm(define(robustIndex))
		free := quota(m.t, m.d)
		m.code(write(robustIndex, 2), 0x101)
		free()
		m.code(cmdPCRRead16, 0x101)
		return hex.EncodeToString(m.d.tpm(cmdTestResult))
	}, func(m *mover, want any) {
		m.code(cmdPCRRead16, 0x101)
		if got := hex.EncodeToString(m.d.tpm(cmdTestResult)); got != want {
			m.t.Errorf("test result %s, was %s", got, want)
		}
		m.on()
		m.d.tpm(cmdStartup, write(robustIndex, 3))
	}},
	{"a hash sequence", func(m *mover) any {
		m.started()
		rsp := m.d.tpm(hx("80010000000e00000186" + "0000" + "000b"))
		m.d.tpm(hx("80020000002000000" + "15c" + hex.EncodeToString(rsp[10:14]) + "00000009400000090000000000" + "00036162" + "63"))
		return rsp[10:14]
	}, func(m *mover, handle any) {
		rsp := m.d.tpm(hx("80020000002400000" + "13e" + hex.EncodeToString(handle.([]byte)) + "00000009400000090000000000" + "000364656640000007"))
		if want := sha256.Sum256([]byte("abcdef")); !bytes.Contains(rsp, want[:]) {
			m.t.Errorf("the sequence gives %x", rsp)
		}
	}},
	{"measuring after Startup", func(m *mover) any { m.started(); m.measure("ab"); return m.measured17("abcd") }, func(m *mover, want any) {
		m.control("00000007" + "00000002" + "6364")
		m.control("00000008")
		m.pcr(cmdPCRRead17, want.([]byte))
	}},
	{"an event sequence that Startup interrupts", func(m *mover) any { m.on(); m.measure("ab"); m.d.tpm(cmdStartup); return nil }, func(m *mover, _ any) {
		ask(m.t, m.c, "00000008", "00000009")
		m.pcr(cmdPCRRead0, make([]byte, 32))
	}},
	{"a running timer", func(m *mover) any {
		m.started()
		m.d.tpm(hx("80020000001f00000" + "198" + "40000110" + "00000009400000090000000000" + "00001000"))
		return time.Now()
	}, func(m *mover, set any) {
		rsp := m.d.tpm(hx("80010000001600000" + "17a" + "0000000a" + "40000110" + "00000001"))
		left := binary.BigEndian.Uint32(rsp[23:])
		if passed := uint32(time.Since(set.(time.Time)).Seconds()) + 2; left > 0x1000 || left+passed < 0x1000 {
			m.t.Errorf("%d seconds left of %d", left, 0x1000)
		}
	}},
}

// measure begins an event sequence.
func (m *mover) measure(text string) {
	m.t.Helper()
	m.control("00000006")
	m.control(fmt.Sprintf("00000007%08x%x", len(text), text))
}

// measured is PCR 0 in SHA-256 after an event before Startup (TPM20-P1, 34.3): extended from 4.
func (m *mover) measured(text string) []byte {
	digest := sha256.Sum256([]byte(text))
	sum := sha256.Sum256(append(append(make([]byte, 31), 4), digest[:]...))
	return sum[:]
}

// measured17 is PCR 17 after one later.
func (m *mover) measured17(text string) []byte {
	digest := sha256.Sum256([]byte(text))
	sum := sha256.Sum256(append(make([]byte, 32), digest[:]...))
	return sum[:]
}

// pcr wants a SHA-256 PCR to have a value.
func (m *mover) pcr(read, want []byte) {
	m.t.Helper()
	if rsp := m.d.tpm(read); !bytes.HasSuffix(rsp, want) {
		m.t.Errorf("%x gives %x, want %x", read, rsp, want)
	}
}

// counts are resetCount and restartCount.
func (m *mover) counts() string {
	m.t.Helper()
	return hex.EncodeToString(m.d.tpm(cmdReadClock)[26:34])
}

// TestEveryPhase saves a TPM at each moment and goes on elsewhere, by blobs and by what
// STORE_VOLATILE writes. Afterwards it starts as any TPM does: nothing of the move is in the way.
func TestEveryPhase(t *testing.T) {
	for _, p := range phases {
		for way, move := range map[string]func(*mover) *mover{"blobs": (*mover).byBlobs, "file": (*mover).byFile} {
			t.Run(p.name+" by "+way, func(t *testing.T) {
				m := newMover(t, t.TempDir())
				reached := p.reach(m)
				m = move(m)
				p.check(m, reached)
				m.on()
				m.d.tpm(cmdStartup, cmdPCRRead16)
				m.d.Kill()
				startUnix(t, m.d.state, "--flags", "not-need-init,startup-clear").tpm(cmdPCRRead16)
			})
		}
	}
}
