package manager

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// A group is a promise to its authority: its vTPMs open in the states that it
// approves, and in no others. Whatever takes a vTPM elsewhere (a move, a backup
// that is restored) is therefore for the authority to allow, by a release that it
// signs. The default group has no authority of its own: what is in it, the
// administrator may put elsewhere.

var errNotReleased = errors.New("leaving the group is for its authority to allow: give a release that it has signed")

// membership is what a vTPM's group is, as a backup remembers it.
type membership struct {
	group     proto.UUID
	authority [32]byte // SHA-256 of the authority's TPMT_PUBLIC; zero: none
	sequence  uint64   // of the group's policy list
}

func (g *group) membership() membership {
	m := membership{group: g.id, sequence: g.sequence}
	if g.binding != nil {
		m.authority = sha256.Sum256(g.binding.Auth.Public)
	}
	return m
}

// mayLeave reports why vTPM u may not go from its group to another; nil if it
// may. A group that exists here wants a release of its present policy list; one
// that is known from a backup only, a release that is not older than the backup.
func mayLeave(u proto.UUID, from membership, to proto.UUID, exists bool, release []byte) error {
	if from.authority == ([32]byte{}) {
		return nil
	}
	if len(release) == 0 {
		return fmt.Errorf("%w (vTPM %v, group %v)", errNotReleased, u, from.group)
	}
	l, err := hwtpm.ParseRelease(release)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(l.Authority); !bytes.Equal(sum[:], from.authority[:]) {
		return fmt.Errorf("%w: the release is signed by another authority than group %v's", hwtpm.ErrPolicy, from.group)
	}
	if err := l.Verify(); err != nil {
		return err
	}
	if !l.Lets(u, from.group, to) {
		return fmt.Errorf("%w (the release does not let vTPM %v go from group %v to %v)", errNotReleased, u, from.group, to)
	}
	if exists && l.Sequence != from.sequence || l.Sequence < from.sequence {
		return fmt.Errorf("%w: the release is of policy %d, in force is %d", errStale, l.Sequence, from.sequence)
	}
	return nil
}
