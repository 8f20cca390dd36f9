package xenstore

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"xenvtpm/board/xen/abi"
)

// Tx is a running transaction. It is the receiver of the same calls as Client
// and valid only inside the function that Transaction runs.
type Tx struct {
	c  *Client
	id uint32 // 0: no transaction
}

func (c *Client) plain() *Tx { return &Tx{c: c} }

// Read returns a node's value. Values are bytes that somebody else wrote.
func (c *Client) Read(path string) (string, error) { return c.plain().Read(path) }

// Write sets a node's value, creating the node and its parents if need be.
func (c *Client) Write(path, value string) error { return c.plain().Write(path, value) }

// Mkdir creates a node without a value; one that exists is left alone.
func (c *Client) Mkdir(path string) error { return c.plain().Mkdir(path) }

// Rm removes a node and everything below. One that does not exist is no error
// if its parent exists.
func (c *Client) Rm(path string) error { return c.plain().Rm(path) }

// Directory lists the names of a node's children, however many there are.
func (c *Client) Directory(path string) ([]string, error) { return c.plain().Directory(path) }

// GetPerms returns a node's permissions, the owner's entry first.
func (c *Client) GetPerms(path string) ([]Perm, error) { return c.plain().GetPerms(path) }

// SetPerms sets a node's permissions.
func (c *Client) SetPerms(path string, perms []Perm) error { return c.plain().SetPerms(path, perms) }

// Exists reports whether a node exists (and may be read).
func (c *Client) Exists(path string) (bool, error) { return c.plain().Exists(path) }

func (t *Tx) op(name, path string, typ uint32, payload string) ([]byte, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	return t.c.request(name, path, typ, t.id, []byte(payload))
}

// Read is Client.Read in the transaction.
func (t *Tx) Read(path string) (string, error) {
	b, err := t.op("read", path, abi.XS_READ, path+"\x00")
	return string(b), err
}

// Write is Client.Write in the transaction.
func (t *Tx) Write(path, value string) error {
	_, err := t.op("write", path, abi.XS_WRITE, path+"\x00"+value)
	return err
}

// Mkdir is Client.Mkdir in the transaction.
func (t *Tx) Mkdir(path string) error {
	_, err := t.op("mkdir", path, abi.XS_MKDIR, path+"\x00")
	return err
}

// Rm is Client.Rm in the transaction.
func (t *Tx) Rm(path string) error {
	_, err := t.op("rm", path, abi.XS_RM, path+"\x00")
	return err
}

// Exists is Client.Exists in the transaction.
func (t *Tx) Exists(path string) (bool, error) {
	_, err := t.Read(path)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Directory is Client.Directory in the transaction.
func (t *Tx) Directory(path string) ([]string, error) {
	b, err := t.op("directory", path, abi.XS_DIRECTORY, path+"\x00")
	if errors.Is(err, abi.E2BIG) {
		return t.directoryParts(path)
	}
	if err != nil {
		return nil, err
	}
	return splitNames(path, b)
}

// directoryTries bounds how often a long listing starts again because the
// directory changes under it.
const directoryTries = 10

// directoryParts reads a listing that does not fit one message
// (XS_DIRECTORY_PART): pieces at byte offsets, each with the directory's
// generation; a changed generation means starting again.
func (t *Tx) directoryParts(path string) ([]string, error) {
	for range directoryTries {
		var list []byte
		var generation string
		for {
			b, err := t.op("directory part", path, abi.XS_DIRECTORY_PART, path+"\x00"+strconv.Itoa(len(list))+"\x00")
			if err != nil {
				return nil, err
			}
			g, part, ok := bytes.Cut(b, []byte{0})
			if !ok || len(part) == 0 || len(list) > 1<<22 {
				return nil, fmt.Errorf("xenstore: directory %s: %w: partial listing", path, ErrCorrupt)
			}
			if generation != "" && generation != string(g) {
				break
			}
			generation = string(g)
			last := part[len(part)-1] == 0 && (len(part) == 1 || part[len(part)-2] == 0)
			if last {
				return splitNames(path, append(list, part[:len(part)-1]...))
			}
			list = append(list, part...)
		}
	}
	return nil, fmt.Errorf("xenstore: directory %s: %w: it changes faster than it can be read", path, ErrConflict)
}

// splitNames cuts a NUL-terminated list and checks each name, so that callers
// can build paths of them.
func splitNames(path string, b []byte) ([]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	names := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	for _, n := range names {
		if CheckPath(n) != nil || strings.Contains(n, "/") {
			return nil, fmt.Errorf("xenstore: directory %s: %w: child named %.40q", path, ErrCorrupt, n)
		}
	}
	return names, nil
}

// Transaction tries.
const transactionTries = 32

// Transaction runs f in a transaction and commits it. When somebody else has
// changed what f used, everything is done again from the start, a bounded
// number of times; then the error is ErrConflict. An error from f aborts.
func (c *Client) Transaction(f func(*Tx) error) error {
	for range transactionTries {
		err := c.transactionOnce(f)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("xenstore: transaction: %w: gave up after %d tries", ErrConflict, transactionTries)
}

func (c *Client) transactionOnce(f func(*Tx) error) error {
	b, err := c.request("transaction start", "", abi.XS_TRANSACTION_START, 0, []byte{0})
	if err != nil {
		return err
	}
	id, err := strconv.ParseUint(cutNUL(b), 10, 32)
	if err != nil || id == 0 {
		return fmt.Errorf("xenstore: transaction start: %w: id %.20q", ErrCorrupt, b)
	}
	end := func(verdict string) error {
		_, err := c.request("transaction end", "", abi.XS_TRANSACTION_END, uint32(id), []byte(verdict+"\x00"))
		return err
	}
	if err := f(&Tx{c: c, id: uint32(id)}); err != nil {
		_ = end("F") // f's error is the one that matters; the server drops the rest
		return err
	}
	return end("T")
}
