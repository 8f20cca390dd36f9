package xenbus

import (
	"errors"
	"fmt"
	"strconv"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
)

// ErrGone means that a device's directory is not there any more.
var ErrGone = errors.New("xenbus: the device's directory is gone")

// ErrBadNode means that a node holds something that its meaning does not allow.
var ErrBadNode = errors.New("xenbus: absurd node")

// Transient reports whether err is xenstore's trouble rather than a peer's
// doing, so that the same request may work later.
func Transient(err error) bool {
	var server *xenstore.Error
	return errors.Is(err, xenstore.ErrTimeout) || errors.Is(err, xenstore.ErrConflict) ||
		errors.As(err, &server) && !errors.Is(err, xenstore.ErrNotExist) && !errors.Is(err, xenstore.ErrPermission)
}

// Reader reads nodes: *xenstore.Client and *xenstore.Tx.
type Reader interface {
	Read(path string) (string, error)
}

// ReadState reads the state node in dir. A node that is absent or not readable
// any more is ErrGone; one with an absurd value is Unknown without an error.
func ReadState(r Reader, dir string) (State, error) {
	text, err := r.Read(dir + "/state")
	switch {
	case errors.Is(err, xenstore.ErrNotExist), errors.Is(err, xenstore.ErrPermission):
		return Unknown, ErrGone
	case err != nil:
		return Unknown, fmt.Errorf("xenbus: reading %s/state: %w", dir, err)
	}
	return ParseState(text), nil
}

// SwitchState writes s to the state node in our directory dir. It never makes
// the node: ErrGone says that the toolstack has removed the device meanwhile.
func SwitchState(c *xenstore.Client, dir string, s State) error {
	err := c.Transaction(func(tx *xenstore.Tx) error {
		if _, err := ReadState(tx, dir); err != nil {
			return err
		}
		return tx.Write(dir+"/state", s.Node())
	})
	if err != nil && !errors.Is(err, ErrGone) {
		return fmt.Errorf("xenbus: showing %v in %s: %w", s, dir, err)
	}
	return err
}

// ParseUint reads a decimal number of at most max. Peers write these nodes, so
// there is no sign, no space and no other base.
func ParseUint(text string, max uint64) (uint64, error) {
	if len(text) == 0 || len(text) > 20 {
		return 0, fmt.Errorf("%w: number of %d characters", ErrBadNode, len(text))
	}
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, fmt.Errorf("%w: not a decimal number", ErrBadNode)
		}
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil || v > max {
		return 0, fmt.Errorf("%w: number above %d", ErrBadNode, max)
	}
	return v, nil
}

// ReadUint reads a node that holds a decimal number of at most max.
func ReadUint(r Reader, path string, max uint64) (uint64, error) {
	text, err := r.Read(path)
	if err != nil {
		return 0, fmt.Errorf("xenbus: reading %s: %w", path, err)
	}
	v, err := ParseUint(text, max)
	if err != nil {
		return 0, fmt.Errorf("xenbus: %s: %w", path, err)
	}
	return v, nil
}

// ReadDomID reads a node that holds the number of an ordinary domain.
func ReadDomID(r Reader, path string) (abi.DomID, error) {
	v, err := ReadUint(r, path, uint64(abi.DOMID_FIRST_RESERVED)-1)
	return abi.DomID(v), err
}

// ReadFlag reports whether a node holds the number 1. An absent node is 0, as
// for every `feature-` node.
func ReadFlag(r Reader, path string) (bool, error) {
	text, err := r.Read(path)
	if errors.Is(err, xenstore.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("xenbus: reading %s: %w", path, err)
	}
	return text == "1", nil
}
