package clienttest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"xenvtpm/tools/vtpmd/ptm"
)

// controlEffects has every request of the control channel with what it changes that can be seen: none is
// answered and then without effect. The TPM has power and is started.
var controlEffects = map[ptm.Command]func(t *testing.T, d *unixDaemon, c *net.UnixConn){
	ptm.GetCapability: func(t *testing.T, _ *unixDaemon, c *net.UnixConn) { ask(t, c, "00000001", "000000000001ffff") },
	ptm.Init: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		ask(t, c, "0000000200000000", "00000000")
		if rc := d.anyCode(cmdPCRRead16); rc != 0x100 {
			t.Errorf("the TPM is still started: 0x%x", rc)
		}
	},
	ptm.Shutdown: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		ask(t, c, "00000003", "00000000")
		if err := d.Wait(20 * time.Second); err != nil {
			t.Error(err)
		}
	},
	ptm.Stop: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		ask(t, c, "0000000e", "00000000")
		if rc := d.anyCode(cmdPCRRead16); rc != 0x101 {
			t.Errorf("the TPM still has power: 0x%x", rc)
		}
	},
	ptm.GetTPMEstablished: establish,
	ptm.HashStart:         establish,
	ptm.HashEnd:           establish,
	ptm.HashData: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		launch := func(text string) []byte {
			ask(t, c, "00000006", "00000000")
			ask(t, c, text, "00000000")
			ask(t, c, "00000008", "00000000")
			return d.tpm(cmdPCRRead17)
		}
		if bytes.Equal(launch("000000070000000161"), launch("000000070000000162")) {
			t.Error("the data make no difference")
		}
	},
	ptm.ResetTPMEstablished: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		establish(t, d, c)
		ask(t, c, "0000000b03", "00000000")
		ask(t, c, "00000004", "0000000000000000")
	},
	ptm.SetLocality: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		extend17 := bytes.Replace(extend16(1), hx("00000010"), hx("00000011"), 1)
		if rc := d.anyCode(extend17); rc != 0x907 {
			t.Errorf("at locality 0: 0x%x", rc)
		}
		ask(t, c, "0000000502", "00000000")
		d.tpm(extend17)
	},
	ptm.CancelTPMCmd: cancel,
	ptm.StoreVolatile: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		d.tpm(extend16(1))
		want := d.tpm(cmdPCRRead16)
		ask(t, c, "0000000a", "00000000")
		ask(t, c, "0000000200000000", "00000000")
		if got := d.tpm(cmdPCRRead16); !bytes.Equal(got, want) {
			t.Errorf("PCR 16 is %x, was %x", got, want)
		}
	},
	ptm.GetStateBlob: moved,
	ptm.SetStateBlob: moved,
	ptm.GetConfig:    func(t *testing.T, _ *unixDaemon, c *net.UnixConn) { ask(t, c, "0000000f", "0000000000000001") },
	ptm.SetDataFD: func(t *testing.T, _ *unixDaemon, c *net.UnixConn) {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "00000010", "00000000", pair[1])
		f := os.NewFile(uintptr(pair[0]), "data")
		data, err := net.FileConn(f)
		if err := errors.Join(err, f.Close(), syscall.Close(pair[1])); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = data.Close() }() // after its answer
		mustSend(t, data, cmdPCRRead16)
	},
	ptm.SetBufferSize: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		large := hx("8001000010000000017b0010")
		large = append(large, make([]byte, 4096-len(large))...)
		ask(t, c, "0000000e", "00000000")
		for _, size := range []uint16{0xf80, 0x1000} {
			request := binary.BigEndian.AppendUint16(hx("000000110000"), size)
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			answered(t, c, "000000000000"+hexOf(size)+"00000af800001000")
			ask(t, c, "0000000200000000", "00000000")
			d.tpm(cmdStartup)
			// Too much to be read at all, or a GetRandom with too many parameters.
			if rc, want := d.anyCode(large), map[uint16]uint32{0xf80: 0x142, 0x1000: 0x95}[size]; rc != want {
				t.Errorf("4,096 octets where %d were agreed upon: 0x%x, want 0x%x", size, rc, want)
			}
			ask(t, c, "0000000e", "00000000")
		}
	},
	ptm.GetInfo: func(t *testing.T, _ *unixDaemon, c *net.UnixConn) {
		ask(t, c, "0000001200000000000000000000000000000000", "0000000000000003000000037b7d00")
		ask(t, c, "0000001200000000000000000000000100000000", "0000000000000003000000027d00")
	},
	ptm.LockStorage: func(t *testing.T, d *unixDaemon, c *net.UnixConn) {
		ask(t, c, "0000001300000000", "00000000")
		refused(t, d.state, "--flags", "not-need-init")
	},
}

func establish(t *testing.T, _ *unixDaemon, c *net.UnixConn) {
	ask(t, c, "00000004", "0000000000000000")
	ask(t, c, "00000006", "00000000")
	ask(t, c, "00000008", "00000000")
	ask(t, c, "00000004", "0000000001000000")
}

// cancel ends the search for an RSA key, which takes long enough to be met.
func cancel(t *testing.T, d *unixDaemon, c *net.UnixConn) {
	create := hx("80020000004300000131" + "40000007" + "00000009400000090000000000" + "000400000000" +
		"001a0001000b0003007200000006008000430010" + "1000" + "00000000" + "0000" + "0000" + "00000000")
	binary.BigEndian.PutUint32(create[2:], uint32(len(create)))
	data := dialUnix(t, d.data)
	for range 200 {
		if _, err := data.Write(create); err != nil {
			t.Fatal(err)
		}
		ended := make(chan uint32, 1)
		go func() {
			head := make([]byte, 10)
			if _, err := data.Read(head); err == nil {
				ended <- code(head)
				return
			}
			ended <- 0
		}()
		for rc, done := uint32(0), false; !done; {
			ask(t, c, "00000009", "00000000")
			select {
			case rc = <-ended:
				done = true
			case <-time.After(time.Millisecond):
			}
			if done && rc == 0x909 {
				return
			}
			if done && rc != 0 {
				t.Fatalf("CreatePrimary: 0x%x", rc)
			}
		}
		_ = data.Close() // the rest of an answer
		data = dialUnix(t, d.data)
	}
	t.Error("no command was cancelled")
}

// moved takes a TPM to another vtpmd.
func moved(t *testing.T, d *unixDaemon, c *net.UnixConn) {
	d.tpm(define(0x01500001), write(0x01500001, 77), extend16(3))
	want := d.tpm(cmdPCRRead16)
	other := startUnix(t, t.TempDir())
	to := other.control(t)
	for _, kind := range []string{"00000001", "00000002"} {
		if _, err := c.Write(hx("0000000c" + "00000001" + kind + "00000000")); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 1<<16)
		n, err := c.Read(answer)
		if err != nil || n < 16 || !bytes.Equal(answer[:4], make([]byte, 4)) {
			t.Fatalf("%x, %v", answer[:min(n, 16)], err)
		}
		request := append(hx("0000000d"+"00000000"+kind), answer[12:n]...)
		if _, err := to.Write(request); err != nil {
			t.Fatal(err)
		}
		answered(t, to, "00000000")
	}
	ask(t, to, "0000000200000001", "00000000")
	if got := other.tpm(cmdPCRRead16); !bytes.Equal(got, want) {
		t.Errorf("PCR 16 is %x, was %x", got, want)
	}
	if v := value(other.tpm(read(0x01500001))); v != 77 {
		t.Errorf("NV holds %d", v)
	}
}

// TestEveryRequest goes through all requests that there are.
func TestEveryRequest(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range ptm.Commands() {
		t.Run(command.String(), func(t *testing.T) {
			effect, ok := controlEffects[command]
			if !ok {
				t.Fatal("nobody says what this request does")
			}
			d := startUnix(t, t.TempDir(), "--key", "pwdfile="+key)
			c := d.control(t)
			ask(t, c, "0000000200000000", "00000000")
			d.tpm(cmdStartup)
			effect(t, d, c)
		})
	}
}

func hexOf(v uint16) string { return hex.EncodeToString(binary.BigEndian.AppendUint16(nil, v)) }
