package tis

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"xenvtpm/drivers/drivertest"
	"xenvtpm/drivers/tpmwire"
)

func command(tag tpmwire.Tag, code uint32, n int) []byte {
	b := tpmwire.Header{Tag: tag, Size: uint32(n), Code: code}.Append(nil)
	for len(b) < n {
		b = append(b, byte(len(b)*7))
	}
	return b
}

// echo answers with the command's own bytes behind a good header.
func echo(_ uint8, cmd []byte) []byte {
	return append(tpmwire.Header{Tag: tpmwire.TagNoSessions, Size: uint32(len(cmd))}.Append(nil), cmd[tpmwire.HeaderSize:]...)
}

func open(t *testing.T, m *drivertest.TIS, cfg Config) (*Device, error) {
	t.Helper()
	if m.Clock == nil {
		m.Clock = new(drivertest.Clock)
	}
	if m.Execute == nil {
		m.Execute = echo
	}
	cfg.Now, cfg.Sleep, cfg.Logf = m.Clock.Now, m.Clock.Sleep, t.Logf
	return New(m, cfg)
}

func TestSend(t *testing.T) {
	for _, burst := range []int{1, 3, 8, 64, 4096} {
		for _, n := range []int{10, 11, 12, 64, 65, 1000, 4096} {
			m := &drivertest.TIS{Burst: burst, Delay: 30 * time.Millisecond}
			d, err := open(t, m, Config{Locality: uint8(n % 5)})
			if err != nil {
				t.Fatal(err)
			}
			cmd := command(tpmwire.TagNoSessions, 0x17B, n)
			rsp, err := d.Send(cmd)
			if err != nil || !bytes.Equal(rsp, echo(0, cmd)) {
				t.Fatalf("burst %d, %d bytes: %v", burst, n, err)
			}
		}
	}
}

func TestLocality(t *testing.T) {
	var got []uint8
	m := &drivertest.TIS{Execute: func(l uint8, cmd []byte) []byte {
		got = append(got, l)
		return echo(l, cmd)
	}}
	for l := uint8(0); l <= 4; l++ {
		d, err := open(t, m, Config{Locality: l})
		if err != nil {
			t.Fatal(err)
		}
		// The TPM is free again after each command: the next device gets it.
		if _, err := d.Send(command(tpmwire.TagNoSessions, 0x17B, 12)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, []uint8{0, 1, 2, 3, 4}) {
		t.Fatalf("localities %v", got)
	}
	if _, err := open(t, m, Config{Locality: 5}); err == nil {
		t.Fatal("locality 5 was taken")
	}
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    drivertest.TIS
		err  error
		fam  tpmwire.Family
	}{
		{"TPM 2.0", drivertest.TIS{}, nil, tpmwire.Family20},
		{"TPM 1.2", drivertest.TIS{TPM12: true}, nil, tpmwire.Family12},
		{"floating bus", drivertest.TIS{Floating: true}, ErrNoTPM, 0},
		{"CRB", drivertest.TIS{CRB: true}, ErrCRB, 0},
		{"never valid", drivertest.TIS{NeverValid: true}, ErrTimeout, 0},
		{"busy for a while", drivertest.TIS{BusyUntil: int64(3 * time.Second)}, nil, tpmwire.Family20},
		{"busy for ever", drivertest.TIS{BusyUntil: int64(time.Hour)}, ErrLocalityBusy, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := open(t, &tt.m, Config{})
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if err == nil && (d.Family() != tt.fam || d.ID() != 0x00011014) {
				t.Fatalf("family %v, id %#x", d.Family(), d.ID())
			}
		})
	}
}

// TestFaults: each fault ends in its named error within its limit, and when it
// is gone the same device works.
func TestFaults(t *testing.T) {
	cmd := command(tpmwire.TagNoSessions, 0x17B, 40)
	answer := func(rsp []byte) func(uint8, []byte) []byte {
		return func(uint8, []byte) []byte { return rsp }
	}
	for _, tt := range []struct {
		name   string
		inject func(m *drivertest.TIS)
		err    error
		within time.Duration
	}{
		{"burst 0", func(m *drivertest.TIS) { m.BurstZero = true }, ErrTimeout, 800 * time.Millisecond},
		{"never ready", func(m *drivertest.TIS) { m.NeverReady = true }, ErrTimeout, 4100 * time.Millisecond},
		{"never ends", func(m *drivertest.TIS) { m.NeverData = true }, ErrTimeout, 10100 * time.Millisecond},
		{"Expect stays", func(m *drivertest.TIS) { m.ExpectStuck = true }, ErrTimeout, 800 * time.Millisecond},
		{"Expect ends early", func(m *drivertest.TIS) { m.ExpectLost = true }, ErrTimeout, 800 * time.Millisecond},
		{"response cut once", func(m *drivertest.TIS) { m.CutResponse = 1 }, nil, time.Second},
		{"response cut always", func(m *drivertest.TIS) { m.CutResponse = 9 }, ErrResponse, 4 * time.Second},
		{"more data once", func(m *drivertest.TIS) { m.Overrun = 1 }, nil, time.Second},
		{"more data always", func(m *drivertest.TIS) { m.Overrun = 9 }, ErrResponse, time.Second},
		{"empty response", func(m *drivertest.TIS) { m.Execute = answer(nil) }, ErrTimeout, 10100 * time.Millisecond},
		{"five bytes", func(m *drivertest.TIS) { m.Execute = answer([]byte{0x80, 1, 0, 0, 0}) }, ErrResponse, 4 * time.Second},
		{"size 0", func(m *drivertest.TIS) { m.Execute = answer([]byte{0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0}) }, ErrResponse, time.Second},
		{"size 4097", func(m *drivertest.TIS) { m.Execute = answer([]byte{0x80, 1, 0, 0, 16, 1, 0, 0, 0, 0}) }, ErrResponse, time.Second},
		{"size 2^32-1", func(m *drivertest.TIS) {
			m.Execute = answer([]byte{0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
		}, ErrResponse, time.Second},
		{"seized while sending", func(m *drivertest.TIS) { m.SeizeAfter = 20 }, ErrSeized, time.Second},
		{"seized while receiving", func(m *drivertest.TIS) { m.SeizeAfter = 60 }, ErrSeized, time.Second},
		{"unplugged", func(m *drivertest.TIS) { m.Floating = true }, ErrNoTPM, time.Second},
		{"unplugged at tpmGo", func(m *drivertest.TIS) { m.OnGo = func(uint8) { m.Floating = true } }, ErrNoTPM, time.Second},
		{"busy", func(m *drivertest.TIS) { m.BusyUntil = int64(time.Hour) }, ErrLocalityBusy, 11 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &drivertest.TIS{Burst: 16}
			d, err := open(t, m, Config{})
			if err != nil {
				t.Fatal(err)
			}
			tt.inject(m)
			start := m.Clock.Now()
			rsp, err := d.Send(cmd)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if took := time.Duration(m.Clock.Now() - start); took > tt.within {
				t.Fatalf("took %v, want at most %v", took, tt.within)
			}
			if tt.err == nil && !bytes.Equal(rsp, echo(0, cmd)) {
				t.Fatalf("response %x", rsp)
			}
			healed := &drivertest.TIS{Clock: m.Clock, Execute: echo, Burst: 16}
			*m = *healed
			if rsp, err := d.Send(cmd); err != nil || !bytes.Equal(rsp, echo(0, cmd)) {
				t.Fatalf("after the fault: %x %v", rsp, err)
			}
		})
	}
}

func TestCommandChecked(t *testing.T) {
	m := &drivertest.TIS{Execute: func(uint8, []byte) []byte { t.Error("executed"); return nil }}
	d, err := open(t, m, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range [][]byte{nil, make([]byte, 9), make([]byte, 10), command(0x8001, 1, 4097)} {
		if _, err := d.Send(cmd); !errors.Is(err, ErrCommand) {
			t.Fatalf("%d bytes: %v", len(cmd), err)
		}
	}
}

func TestCancel(t *testing.T) {
	key := command(tpmwire.TagSessions, 0x131, 20)
	for _, tt := range []struct {
		name    string
		tpm12   bool
		stuck   bool // does not even react to a cancel
		err     error
		cancels int
		aborts  int
	}{
		{"TPM 2.0 answers TPM_RC_CANCELED", false, false, nil, 1, 0},
		{"TPM 1.2 is aborted", true, false, ErrCancelled, 0, 1},
		{"a TPM that hangs is aborted", false, true, ErrCancelled, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &drivertest.TIS{Clock: new(drivertest.Clock), Delay: time.Minute, TPM12: tt.tpm12, NeverData: tt.stuck}
			var d *Device
			polls := 0
			d, err := open(t, m, Config{Idle: func() {
				if polls++; polls == 5 {
					d.Cancel()
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			rsp, err := d.Send(key)
			if !errors.Is(err, tt.err) || m.Cancels != tt.cancels || m.Aborts != tt.aborts {
				t.Fatalf("%v, %d cancels, %d aborts", err, m.Cancels, m.Aborts)
			}
			if h, _ := tpmwire.ParseHeader(rsp); err == nil && h.Code != tpmwire.RCCanceled {
				t.Fatalf("response %x", rsp)
			}
			if m.Clock.Now() > int64(10*time.Second) {
				t.Fatalf("took %v", time.Duration(m.Clock.Now()))
			}
		})
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		tag  tpmwire.Tag
		code uint32
		max  time.Duration
		want time.Duration
	}{
		{tpmwire.TagSessions, 0x131, 0, durationKey},
		{tpmwire.TagSessions, 0x131, time.Second, time.Second},
		{tpmwire.TagNoSessions, 0x17B, 0, durationMedium},
		{tpmwire.TagNoSessions, 0x143, 0, durationLong},
		{tpmwire.TagNoSessions, 0x0D, 0, durationLong},
		{tpmwire.TagRquAuth1Command, 0x0D, 0, durationKey},
		{tpmwire.TagRquCommand, 0x131, 0, durationLong},
		{0x1234, 0x131, 0, durationLong},
	} {
		if got := limit(tpmwire.Header{Tag: tt.tag, Code: tt.code}, tt.max); got != tt.want {
			t.Errorf("limit(%#x, %#x, %v) = %v, want %v", uint16(tt.tag), tt.code, tt.max, got, tt.want)
		}
	}
}

// FuzzResponse lets a TPM answer anything.
func FuzzResponse(f *testing.F) {
	f.Add([]byte{}, 1)
	f.Add(echo(0, command(0x8001, 1, 30)), 7)
	f.Add([]byte{0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2}, 64)
	f.Add([]byte{0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, rsp []byte, burst int) {
		m := &drivertest.TIS{Clock: new(drivertest.Clock), Burst: 1 + int(uint(burst)%5000), Execute: func(uint8, []byte) []byte { return rsp }}
		d, err := New(m, Config{Now: m.Clock.Now, Sleep: m.Clock.Sleep})
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Send(command(tpmwire.TagNoSessions, 0x17B, 12))
		if err == nil && !bytes.Equal(got, rsp) {
			t.Fatalf("got %x for %x", got, rsp)
		}
		if m.Clock.Now() > int64(time.Minute) {
			t.Fatalf("took %v", time.Duration(m.Clock.Now()))
		}
	})
}
