package xenbus

import "fmt"

// FrontPhase is where a frontend stands with its backend.
type FrontPhase uint8

// Phases of a frontend.
const (
	FrontIdle       FrontPhase = iota // nothing published; waits for a backend
	FrontPublishing                   // Publish was asked for, its result is due
	FrontPublished                    // shows Initialised, waits for the backend
	FrontConnected                    // shows Connected
	FrontClosed                       // the backend closed; waits for its return
	FrontClosing                      // we close: shows Closing
	FrontClosing2                     // we close: shows Closed, waits for the backend
	FrontFinished                     // we have closed
	FrontFailed                       // the backend lacks what we need
)

var frontPhaseNames = [...]string{
	"Idle", "Publishing", "Published", "Connected", "Closed", "Closing",
	"Closing2", "Finished", "Failed",
}

func (p FrontPhase) String() string {
	if int(p) < len(frontPhaseNames) {
		return frontPhaseNames[p]
	}
	return fmt.Sprintf("FrontPhase(%d)", uint8(p))
}

// FrontEventKind says what happened to a frontend.
type FrontEventKind uint8

// Events of a frontend.
const (
	FrontBackend       FrontEventKind = iota // the backend's state was read
	FrontBackendGone                         // the backend's state node is gone
	FrontPublishOK                           // Publish succeeded
	FrontPublishFailed                       // Publish failed
	FrontAccept                              // Check found what we need
	FrontReject                              // Check found that the backend lacks something
	FrontClose                               // our owner wants to close
	FrontTimer                               // the armed timer has run out
)

var frontEventNames = [...]string{
	"Backend", "BackendGone", "PublishOK", "PublishFailed", "Accept", "Reject", "Close", "Timer",
}

func (k FrontEventKind) String() string {
	if int(k) < len(frontEventNames) {
		return frontEventNames[k]
	}
	return fmt.Sprintf("FrontEventKind(%d)", uint8(k))
}

// A FrontEvent is one event; Backend goes with FrontBackend.
type FrontEvent struct {
	Kind    FrontEventKind
	Backend State
}

// Frontend is the state of one frontend device. The zero value is a device
// that has published nothing.
type Frontend struct {
	Phase FrontPhase
	// NeedInitWait holds Publish back until the backend shows InitWait. Block
	// backends want that: before, their device is not open yet.
	NeedInitWait bool

	shared bool
	early  bool // Early was asked for: the backend may use the ring while it shows InitWait
}

// Step applies ev and returns the actions to take, in order. An event that
// means nothing in a phase changes nothing.
func (f *Frontend) Step(ev FrontEvent) []Action {
	switch ev.Kind {
	case FrontBackend:
		return f.backend(ev.Backend)
	case FrontBackendGone:
		return f.gone()
	case FrontPublishOK:
		if f.Phase == FrontPublishing {
			f.shared, f.early = true, false
			return f.enter(FrontPublished, show(Initialised))
		}
	case FrontPublishFailed:
		if f.Phase == FrontPublishing {
			return f.enter(FrontIdle) // the driver may try again
		}
	case FrontAccept:
		if f.Phase == FrontPublished {
			f.early = false
			return f.enter(FrontConnected, show(Connected))
		}
	case FrontReject:
		if f.Phase == FrontPublished {
			acts := append(f.drop(), Action{Kind: Unpublish})
			return append(acts, f.enter(FrontFailed, show(Closed))...)
		}
	case FrontClose:
		return f.close()
	case FrontTimer:
		switch f.Phase {
		case FrontClosing:
			return f.closing2()
		case FrontClosing2:
			return f.enter(FrontFinished, show(Initialising))
		}
	}
	return nil
}

func (f *Frontend) enter(p FrontPhase, acts ...Action) []Action {
	f.Phase = p
	return acts
}

func (f *Frontend) drop() []Action {
	if !f.shared {
		return nil
	}
	f.shared, f.early = false, false
	return []Action{{Kind: Disconnect}}
}

func (f *Frontend) publish() []Action {
	return f.enter(FrontPublishing, Action{Kind: Publish})
}

// mayPublish reports whether a backend in state s will look at a new ring.
func (f *Frontend) mayPublish(s State) bool {
	if f.NeedInitWait {
		return s == InitWait
	}
	return s >= Initialising && s <= Connected
}

func (f *Frontend) backend(s State) []Action {
	switch f.Phase {
	case FrontIdle, FrontClosed:
		return f.backendIdle(s)
	case FrontPublished:
		switch s {
		case Connected:
			return []Action{{Kind: Check}}
		case InitWait:
			if !f.NeedInitWait {
				f.early = true
				return []Action{{Kind: Early}}
			}
		case Closing, Closed:
			return f.backendClosed()
		}
	case FrontConnected:
		switch s {
		case Initialising, InitWait:
			// The backend started anew; what it knew of our ring is lost.
			acts := f.drop()
			if f.mayPublish(s) {
				return append(acts, f.publish()...)
			}
			return append(acts, f.enter(FrontIdle, show(Initialising))...)
		case Closing, Closed:
			return f.backendClosed()
		}
	case FrontClosing:
		if s == Closing || s == Closed || s == InitWait && !f.early {
			return f.closing2()
		}
	case FrontClosing2:
		if s == Closed || s == InitWait {
			return f.enter(FrontFinished, show(Initialising))
		}
	}
	return nil
}

// backendIdle waits for a backend that takes a ring. A backend that shows
// Closed after us is told by Initialising that we would come back.
func (f *Frontend) backendIdle(s State) []Action {
	switch {
	case f.mayPublish(s):
		return f.publish()
	case f.Phase == FrontClosed && s == Closed:
		return f.enter(FrontIdle, show(Initialising))
	}
	return nil
}

func (f *Frontend) backendClosed() []Action {
	acts := append(f.drop(), Action{Kind: Unpublish})
	return append(acts, f.enter(FrontClosed, show(Closed))...)
}

func (f *Frontend) gone() []Action {
	switch f.Phase {
	case FrontPublished, FrontConnected, FrontClosed:
		acts := append(f.drop(), Action{Kind: Unpublish})
		return append(acts, f.enter(FrontIdle, show(Initialising))...)
	case FrontClosing:
		acts := append(f.drop(), Action{Kind: Unpublish})
		return append(acts, f.enter(FrontFinished, show(Initialising))...)
	case FrontClosing2:
		return f.enter(FrontFinished, show(Initialising))
	case FrontFailed:
		return f.enter(FrontIdle) // a new backend gets a new chance
	}
	return nil
}

func (f *Frontend) close() []Action {
	switch f.Phase {
	case FrontPublished, FrontConnected:
		return f.enter(FrontClosing, show(Closing), arm(TimerClose))
	case FrontIdle, FrontClosed, FrontFailed:
		return f.enter(FrontFinished)
	}
	return nil
}

// closing2 is mini-os's order: the nodes go before Closed is shown.
func (f *Frontend) closing2() []Action {
	f.early = false
	acts := append(f.drop(), Action{Kind: Unpublish}, show(Closed), arm(TimerClose))
	return append(acts, f.enter(FrontClosing2)...)
}
