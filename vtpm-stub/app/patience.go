package app

import (
	"errors"
	"fmt"
	"slices"

	"xenvtpm/drivers/blkfront"
	"xenvtpm/drivers/tpmfront"
	"xenvtpm/vtpmmgr-stub/proto"
)

// phase is where the program stands with its TPM, and with it what guests get.
type phase uint8

// Phases.
const (
	starting phase = iota // manager or disk do not answer yet: commands wait
	refused               // the manager refuses for now: failure mode, tried again
	serving               // commands are executed
	holding               // a change is not durable, or a power cycle not done: commands wait
	failed                // failure mode for good
)

var phaseNames = [...]string{"starting", "refused", "serving", "holding", "failed"}

func (p phase) String() string { return phaseNames[p] }

// event is what happens to the program's TPM.
type event uint8

// Events.
const (
	up          event = iota // the TPM was brought up
	settled                  // what was held is durable
	unknown                  // something is held: a save, or a power cycle
	unreachable              // manager or disk did not answer
	notNow                   // the manager refused, and may not later
	never                    // it is refused for good
)

var eventNames = [...]string{"up", "settled", "unknown", "unreachable", "not now", "never"}

func (e event) String() string { return eventNames[e] }

// phases says what follows. What is not in it cannot happen.
var phases = map[phase]map[event]phase{
	starting: {up: serving, unreachable: starting, notNow: refused, never: failed},
	refused:  {up: serving, unreachable: starting, notNow: refused, never: failed},
	serving:  {unknown: holding, never: failed},
	holding:  {settled: serving, unreachable: holding, notNow: holding, never: failed},
	failed:   {},
}

// step returns the phase after an event. An event that cannot happen changes
// nothing.
func (p phase) step(ev event) (phase, error) {
	next, ok := phases[p][ev]
	if !ok {
		return p, fmt.Errorf("internal error: %v in phase %v", ev, p)
	}
	return next, nil
}

// lasting are errors that stay although they come with one that may pass: of a
// disk's backend that is there, and will not do.
var lasting = []error{blkfront.ErrNoFlush, blkfront.ErrBarrierOnly, blkfront.ErrTapdisk, blkfront.ErrReadOnly}

// passing are errors of peers that went away, come late or come anew.
var passing = []error{
	tpmfront.ErrNotConnected, tpmfront.ErrDisconnected, tpmfront.ErrTimeout, tpmfront.ErrCancelled,
	blkfront.ErrNotConnected, blkfront.ErrDisconnected, blkfront.ErrBroken,
}

// later are refusals of a manager that is degraded, that has not noticed the end of
// our last connection, whose group is still closed, or whose store is full.
var later = []proto.Result{proto.Fail, proto.Disabled, proto.Unavailable, proto.NoSpace}

// kindOf says what an error of manager or disk means. What is not known is for
// good.
func kindOf(err error) event {
	is := func(target error) bool { return errors.Is(err, target) }
	var result proto.Result
	switch {
	case slices.ContainsFunc(lasting, is):
		return never
	case errors.As(err, &result):
		if slices.Contains(later, result) {
			return notNow
		}
		return never
	case slices.ContainsFunc(passing, is):
		return unreachable
	}
	return never
}

// transient is kindOf for package service.
func transient(err error) bool { return kindOf(err) != never }
