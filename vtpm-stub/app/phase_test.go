package app

import (
	"errors"
	"fmt"
	"testing"

	"xenvtpm/drivers/blkfront"
	"xenvtpm/drivers/tpmfront"
	"xenvtpm/vtpm-stub/state"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Every phase with every event, those that cannot happen included: they change
// nothing and are reported.
func TestPhases(t *testing.T) {
	const no = phase(99)
	want := map[phase][6]phase{
		//         up       settled  unknown  unreachable notNow   never
		starting: {serving, no, no, starting, refused, failed},
		refused:  {serving, no, no, starting, refused, failed},
		serving:  {no, no, holding, no, no, failed},
		holding:  {no, serving, no, holding, holding, failed},
		failed:   {no, no, no, no, no, no},
	}
	for p := starting; p <= failed; p++ {
		for ev := up; ev <= never; ev++ {
			got, err := p.step(ev)
			next := want[p][ev]
			if next == no && (err == nil || got != p) {
				t.Errorf("%v in %v: %v, %v; it cannot happen", ev, p, got, err)
			}
			if next != no && (err != nil || got != next) {
				t.Errorf("%v in %v: %v, %v; want %v", ev, p, got, err, next)
			}
		}
	}
}

// What an error means: the trouble passes, is a refusal for now, or is for good.
func TestKindOf(t *testing.T) {
	wrap := func(errs ...error) error { return fmt.Errorf("state: %w", errors.Join(errs...)) }
	for _, c := range []struct {
		err  error
		want event
	}{
		{tpmfront.ErrNotConnected, unreachable},
		{tpmfront.ErrDisconnected, unreachable},
		{tpmfront.ErrTimeout, unreachable},
		{wrap(state.ErrUncertain, tpmfront.ErrDisconnected), unreachable},
		{wrap(state.ErrMismatch, blkfront.ErrDisconnected), unreachable}, // a slot could not be read
		{blkfront.ErrNotConnected, unreachable},
		{blkfront.ErrBroken, unreachable},
		{wrap(blkfront.ErrNotConnected, blkfront.ErrNoFlush), never},
		{wrap(blkfront.ErrNotConnected, blkfront.ErrBarrierOnly), never},
		{wrap(blkfront.ErrNotConnected, blkfront.ErrTapdisk), never},
		{blkfront.ErrReadOnly, never},
		{blkfront.ErrIO, never},
		{wrap(state.ErrUncertain, proto.Fail), notNow},
		{proto.Disabled, notNow},
		{proto.Unavailable, notNow},
		{proto.NoSpace, notNow},
		{wrap(state.ErrUncertain, proto.AuthFail), never},
		{proto.DamagedStore, never},
		{proto.BadParameter, never},
		{proto.BadVersion, never},
		{state.ErrMismatch, never},
		{state.ErrNotBlank, never},
		{state.ErrShrunk, never},
		{state.ErrForeign, never},
		{errors.New("anything else"), never},
	} {
		if got := kindOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
		if transient(c.err) != (c.want != never) {
			t.Errorf("%v: transient is %t", c.err, transient(c.err))
		}
	}
}
