package main

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"github.com/google/go-tpm/tpm2"

	engine "xenvtpm/vtpm-stub/tpm2"
)

// inProcess precedes the name of a command in the table.
const inProcess = "in process: "

// engineTime is what a command takes in the engine, without a socket.
type engineTime struct {
	Name   string        `json:"name"`
	Time   time.Duration `json:"ns"`
	Allocs uint64        `json:"allocations"` // per command
}

// simplest are the commands for which the project promises a time in process.
var simplest = []struct {
	name string
	send func(t transportTPM) error
}{
	{"GetRandom 32", func(t transportTPM) error { _, err := run(t, getRandom); return err }},
	{"PCR_Read", func(t transportTPM) error { _, err := run(t, pcrRead); return err }},
	{"PCR_Extend", func(t transportTPM) error { _, err := run(t, extend); return err }},
}

// inside is an engine in this process. It keeps the last command.
type inside struct {
	tpm  *engine.TPM
	last []byte
}

func (t *inside) Send(cmd []byte) ([]byte, error) {
	t.last = append([]byte(nil), cmd...)
	return t.tpm.Execute(0, cmd, nil), nil
}

// measureInProcess asks an engine of this process the chosen commands.
func measureInProcess(cfg config) ([]engineTime, error) {
	start := time.Now()
	t, err := engine.New(engine.Config{Entropy: rand.Reader, Clock: func() int64 { return time.Since(start).Milliseconds() }})
	if err != nil {
		return nil, err
	}
	in := &inside{tpm: t}
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(in); err != nil {
		return nil, err
	}
	var out []engineTime
	for _, s := range simplest {
		if !cfg.only.MatchString(inProcess + s.name) {
			continue
		}
		if err := s.send(in); err != nil {
			return nil, fmt.Errorf("%s in process: %w", s.name, err)
		}
		out = append(out, repeatInside(s.name, t, in.last, cfg.budget))
	}
	return out, nil
}

// repeatInside takes the median of a thousand commands at a time.
func repeatInside(name string, t *engine.TPM, cmd []byte, budget time.Duration) engineTime {
	const batch = 1000
	buf := make([]byte, 0, 4096)
	var times []time.Duration
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for begin := time.Now(); len(times) < 5 || time.Since(begin) < budget; {
		from := time.Now()
		for range batch {
			t.Execute(0, cmd, buf)
		}
		times = append(times, time.Since(from)/batch)
	}
	runtime.ReadMemStats(&after)
	// The list of times itself is some allocations for many thousand commands.
	return engineTime{name, summarize(times).Median, (after.Mallocs - before.Mallocs) / uint64(len(times)*batch)}
}
