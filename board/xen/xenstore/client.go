// Package xenstore is a xenstore client: packets, requests, transactions and
// watches over a ring or any other Transport.
package xenstore

import (
	"errors"
	"time"

	"xenvtpm/board/xen/abi"
)

// Transport carries xenstore's byte stream. Send and Receive never block.
type Transport interface {
	// Send queues some or all of p and returns how much.
	Send(p []byte) (int, error)
	// Receive moves bytes that have arrived into p and returns how many.
	Receive(p []byte) (int, error)
	// Wait blocks until Send or Receive may get further, or the deadline;
	// with all set, until any event of the domain.
	Wait(deadline int64, all bool)
	// Now is monotonic nanoseconds.
	Now() int64
}

// Config is what New needs.
type Config struct {
	Transport Transport
	Timeout   time.Duration                    // for one request; default 10 s
	Idle      func()                           // called while a request waits; may be nil
	Logf      func(format string, args ...any) // may be nil
}

// Client is a connection to xenstore. One goroutine uses it at a time.
type Client struct{}

// New makes a client. It sends nothing yet.
func New(cfg Config) *Client { panic("filled next") }

// Errors. Server errors are *Error with an Errno of package abi, and compare
// equal with errors.Is to these.
var (
	ErrNotExist    = errors.New("no such node")         // ENOENT
	ErrPermission  = errors.New("permission denied")    // EACCES, EPERM
	ErrQuota       = errors.New("quota exceeded")       // ENOSPC, EDQUOT, E2BIG
	ErrExist       = errors.New("node exists")          // EEXIST
	ErrTimeout     = errors.New("no answer in time")    // we gave up waiting
	ErrCorrupt     = errors.New("malformed reply")      // the stream makes no sense
	ErrConflict    = errors.New("transaction conflict") // EAGAIN, too often
	ErrInvalidPath = errors.New("invalid path")         // found here, not sent
)

// Perm is one entry of a node's permissions. The first names the owner and
// what everybody not listed may do.
type Perm struct {
	Dom         abi.DomID
	Read, Write bool
}

func (c *Client) Read(path string) (string, error)         { panic("filled next") }
func (c *Client) Write(path, value string) error           { panic("filled next") }
func (c *Client) Mkdir(path string) error                  { panic("filled next") }
func (c *Client) Rm(path string) error                     { panic("filled next") }
func (c *Client) Directory(path string) ([]string, error)  { panic("filled next") }
func (c *Client) GetPerms(path string) ([]Perm, error)     { panic("filled next") }
func (c *Client) SetPerms(path string, perms []Perm) error { panic("filled next") }
func (c *Client) Exists(path string) (bool, error)         { panic("filled next") }

// Transaction runs f in a transaction, again from the start (a few times) when
// somebody else changed what it used. An error from f aborts it.
func (c *Client) Transaction(f func(*Tx) error) error { panic("filled next") }

// Tx is a running transaction.
type Tx struct{}

func (t *Tx) Read(path string) (string, error)         { panic("filled next") }
func (t *Tx) Write(path, value string) error           { panic("filled next") }
func (t *Tx) Mkdir(path string) error                  { panic("filled next") }
func (t *Tx) Rm(path string) error                     { panic("filled next") }
func (t *Tx) Directory(path string) ([]string, error)  { panic("filled next") }
func (t *Tx) GetPerms(path string) ([]Perm, error)     { panic("filled next") }
func (t *Tx) SetPerms(path string, perms []Perm) error { panic("filled next") }
func (t *Tx) Exists(path string) (bool, error)         { panic("filled next") }

// Watch calls f, from Dispatch, once soon and then whenever path or something
// below it changes. f gets the path that changed (or path itself).
func (c *Client) Watch(path string, f func(path string)) (*Watch, error) { panic("filled next") }

// Watch is a registered watch.
type Watch struct{}

// Close ends the watch; its callback does not run again.
func (w *Watch) Close() error { panic("filled next") }

// Dispatch reads what has arrived and runs the callbacks of watch events. It
// does not block. Callbacks run only here, never inside another call.
func (c *Client) Dispatch() error { panic("filled next") }
