package app

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"xenvtpm/board/xen/xentest"
	"xenvtpm/drivers/tpmfront"
	"xenvtpm/vtpmmgr-stub/proto"
)

// chip is a hardware TPM as slow as a chip on its bus, in virtual time. It counts
// its commands.
type chip struct {
	tpm   TPM
	sleep *func(time.Duration)
	n     atomic.Int64
}

// chipTimes by command code; what is not named takes no time.
var chipTimes = map[uint32]time.Duration{
	0x131: 200 * time.Millisecond, // CreatePrimary
	0x157: 60 * time.Millisecond,  // Load
	0x158: 120 * time.Millisecond, // Quote
	0x15D: 120 * time.Millisecond, // Sign
	0x134: 20 * time.Millisecond,  // NV_Increment
}

func (c *chip) Send(cmd []byte) ([]byte, error) {
	c.n.Add(1)
	if d := chipTimes[binary.BigEndian.Uint32(cmd[6:])]; d > 0 {
		(*c.sleep)(d)
	}
	return c.tpm.Send(cmd)
}

// crowd is a manager on a chip, with so many vTPM domains that ask for deep quotes
// as fast as they can, and a quiet one.
type crowd struct {
	*host
	chip   *chip
	quotes []atomic.Int64 // that were answered, by domain
	stop   atomic.Bool
}

func newCrowd(t testing.TB, others int) *crowd {
	l := newHostWith(t, true)
	l.h.SetQuota(xentest.Quota{Nodes: 10_000, Value: 2048, Watches: 1000, Transactions: 10})
	c := &crowd{host: l, chip: &chip{tpm: l.tpm, sleep: &l.sleep}, quotes: make([]atomic.Int64, others)}
	l.boot(func() (TPM, error) { return c.chip, nil })
	ready := make(chan struct{}, others)
	for i := range others {
		c.domain(fmt.Sprintf("00000000-0000-0000-0000-000000000%03d", i), func(d *xentest.Domain, vtpm *proto.Client) {
			err := vtpm.SaveHashKey(rec(byte(i)))
			ready <- struct{}{}
			for err == nil && !c.stop.Load() {
				_, err = vtpm.DeepQuote(proto.DeepQuoteRequest{Data: []byte{byte(i)}, PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF}})
				c.quotes[i].Add(1)
			}
			if err != nil {
				t.Errorf("domain %d: %v", d.ID, err)
			}
		})
	}
	for range others {
		done := make(chan struct{})
		go func() { <-ready; close(done) }()
		c.await(done)
	}
	c.h.Sleep(20 * time.Second) // until bursts are over, and keys are made
	return c
}

// domain runs f in a vTPM domain of its own.
func (c *crowd) domain(uuid string, f func(*xentest.Domain, *proto.Client)) {
	d := c.newDomain()
	if _, err := c.ts.AddVTPM(d.ID, c.mgr.ID, 0, uuid); err != nil {
		c.t.Fatal(err)
	}
	d.Run(func() {
		dev, err := tpmfront.Open(tpmfront.Config{Store: d.Store, Channels: d.Channels, Grants: d.Grants, CommandWait: 600 * time.Second})
		if err != nil {
			c.t.Errorf("tpmfront: %v", err)
			return
		}
		f(d, &proto.Client{S: dev})
	})
}

// wait is what a save cost: in virtual time, and in commands of the hardware TPM.
type wait struct {
	time     time.Duration
	commands int64
}

// saves lets the quiet domain save n times, at moments that have nothing to do
// with the others'.
func (c *crowd) saves(n int) []wait {
	var out []wait
	done := make(chan struct{})
	c.domain("ffffffff-0000-0000-0000-000000000000", func(d *xentest.Domain, vtpm *proto.Client) {
		defer close(done)
		for i := range n + 1 {
			d.Channels.Wait(d.Channels.Now() + int64(time.Duration(300+137*i%500)*time.Millisecond))
			began, commands := d.Channels.Now(), c.chip.n.Load()
			if err := vtpm.SaveHashKey(rec(byte(i))); err != nil {
				c.t.Errorf("save %d: %v", i, err)
			}
			if i > 0 { // the first also connects
				out = append(out, wait{time.Duration(d.Channels.Now() - began), c.chip.n.Load() - commands})
			}
		}
	})
	c.await(done)
	c.stop.Store(true)
	return out
}

// BenchmarkQuietSave: what one save waits, in the time of the fake machine, while
// others ask for deep quotes as fast as they can.
func BenchmarkQuietSave(b *testing.B) {
	for _, others := range []int{0, 1, 20, 100} {
		b.Run(fmt.Sprintf("quoting=%d", others), func(b *testing.B) {
			for range b.N {
				c := newCrowd(b, others)
				var longest, sum time.Duration
				var commands int64
				waits := c.saves(20)
				for _, w := range waits {
					longest, sum, commands = max(longest, w.time), sum+w.time, max(commands, w.commands)
				}
				b.ReportMetric(float64(longest.Milliseconds()), "ms-longest")
				b.ReportMetric(float64((sum / time.Duration(len(waits))).Milliseconds()), "ms-mean")
				b.ReportMetric(float64(commands), "commands-most")
			}
		})
	}
}
