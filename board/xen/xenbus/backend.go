package xenbus

import "fmt"

// BackPhase is where a backend stands with one frontend. It is finer than the
// State that it shows.
type BackPhase uint8

// Phases of a backend.
const (
	BackNew        BackPhase = iota // directory seen, nothing written yet
	BackHold                        // shows InitWait, for the toolstack to see
	BackEarly                       // as Hold, and serves the ring already
	BackInitWait                    // shows InitWait, waits for the frontend
	BackConnecting                  // Connect was asked for, its result is due
	BackConnected                   // shows Connected
	BackClosing                     // shows Closing until the frontend is Closed
	BackClosed                      // shows Closed for a moment, then InitWait
	BackRemoving                    // shows Closed for a moment, then goes away
	BackRefusing                    // shows InitWait, for the toolstack to see, and cannot serve
	BackRefused                     // shows Closed: there is no room for the device
	BackGone                        // finished
)

var backPhaseNames = [...]string{
	"New", "Hold", "Early", "InitWait", "Connecting", "Connected", "Closing", "Closed",
	"Removing", "Refusing", "Refused", "Gone",
}

func (p BackPhase) String() string {
	if int(p) < len(backPhaseNames) {
		return backPhaseNames[p]
	}
	return fmt.Sprintf("BackPhase(%d)", uint8(p))
}

// BackEventKind says what happened to a backend.
type BackEventKind uint8

// Events of a backend.
const (
	BackStart         BackEventKind = iota // our directory is complete
	BackFrontend                           // the frontend's state was read
	BackFrontendGone                       // the frontend's state node is gone
	BackOffline                            // the toolstack wants the device gone
	BackReset                              // the toolstack made the directory anew
	BackDirGone                            // our directory is gone
	BackTimer                              // the armed timer has run out
	BackConnectOK                          // Connect succeeded
	BackConnectFailed                      // Connect failed
	BackFault                              // the frontend broke the ring's rules
	BackAskedAgain                         // the toolstack wrote Closing over our Closed
	BackRefuse                             // there is no room for this device
)

var backEventNames = [...]string{
	"Start", "Frontend", "FrontendGone", "Offline", "Reset", "DirGone", "Timer",
	"ConnectOK", "ConnectFailed", "Fault", "AskedAgain", "Refuse",
}

func (k BackEventKind) String() string {
	if int(k) < len(backEventNames) {
		return backEventNames[k]
	}
	return fmt.Sprintf("BackEventKind(%d)", uint8(k))
}

// A BackEvent is one event. Frontend and NewRing go with BackFrontend; NewRing
// says that ring-ref or event-channel differ from those of the last Connect.
// Blameless goes with BackConnectFailed: the frontend can't help it, so it is
// not counted.
type BackEvent struct {
	Kind      BackEventKind
	Frontend  State
	NewRing   bool
	Blameless bool
}

// maxConnects bounds how often one ring is tried.
const maxConnects = 5

// Backend is the state of one backend device. The zero value is a device whose
// directory has just been seen.
type Backend struct {
	Phase    BackPhase
	Offline  bool // the toolstack asked for removal
	held     bool // InitWait must stay readable until the timer has run out
	mapped   bool // Connect succeeded and no Disconnect followed
	wants    bool // the frontend waits to be connected
	failures int  // of Connect in a row
}

// Step applies ev and returns the actions to take, in order. An event that
// means nothing in a phase changes nothing.
func (b *Backend) Step(ev BackEvent) []Action {
	switch ev.Kind {
	case BackDirGone:
		if b.Phase == BackGone {
			return nil
		}
		return append(b.drop(), b.enter(BackGone, Action{Kind: Forget})...)
	case BackReset:
		if b.Phase == BackNew || b.Phase == BackGone {
			return nil
		}
		acts := b.drop()
		*b = Backend{}
		return append(acts, b.hold()...)
	case BackOffline, BackFrontendGone:
		return b.leave(ev.Kind)
	case BackFault:
		return b.fault()
	case BackTimer:
		return b.timer()
	case BackFrontend:
		return b.frontend(ev)
	case BackAskedAgain:
		// It waits for Closed, and reads it after the event.
		if b.Phase == BackRemoving {
			return []Action{show(Closed), arm(TimerRemove)}
		}
	}
	switch {
	case (b.Phase == BackNew || b.Phase == BackRefused) && ev.Kind == BackStart:
		return b.hold()
	case b.Phase == BackNew && ev.Kind == BackRefuse:
		// The toolstack gets what it waits for, so that the frontend's domain
		// runs and can be told.
		return b.enter(BackRefusing, show(InitWait), arm(TimerInitWait))
	case b.Phase == BackConnecting && ev.Kind == BackConnectOK:
		b.mapped, b.failures, b.wants = true, 0, false
		if b.held {
			return b.enter(BackEarly)
		}
		return b.enter(BackConnected, show(Connected))
	case b.Phase == BackConnecting && ev.Kind == BackConnectFailed:
		return b.failed(ev.Blameless)
	}
	return nil
}

func (b *Backend) enter(p BackPhase, acts ...Action) []Action {
	b.Phase = p
	if p != BackHold && p != BackConnecting && p != BackEarly {
		b.held = false
	}
	return acts
}

// drop ends the connection if there is one.
func (b *Backend) drop() []Action {
	if !b.mapped {
		return nil
	}
	b.mapped = false
	return []Action{{Kind: Disconnect}}
}

// hold keeps InitWait readable for the toolstack, which waits for exactly that state. A frontend that is
// faster is served all the same, without being shown Connected: Linux's driver sends its first commands
// while it publishes its ring.
func (b *Backend) hold() []Action {
	b.held = true
	return b.enter(BackHold, show(InitWait), arm(TimerInitWait))
}

func (b *Backend) connect() []Action {
	return b.enter(BackConnecting, Action{Kind: Connect})
}

// closed shows Closed: for good when the device is to go, else for a moment.
// Linux's kexec path waits for Closed and then for InitWait, everybody else is
// content with either.
func (b *Backend) closed() []Action {
	acts := append(b.drop(), show(Closed))
	if b.Offline {
		return append(acts, b.enter(BackRemoving, arm(TimerRemove))...)
	}
	return append(acts, b.enter(BackClosed, arm(TimerClosed))...)
}

// leave is the way out when the toolstack wants the device gone, or its
// frontend does not exist any more.
func (b *Backend) leave(kind BackEventKind) []Action {
	if b.Phase == BackRemoving || b.Phase == BackGone {
		return nil
	}
	first := !b.Offline
	b.Offline = true
	if kind == BackFrontendGone || !b.mapped {
		return b.closed()
	}
	if !first {
		return nil
	}
	// The frontend still uses the ring: let it finish and close.
	return b.enter(BackClosing, show(Closing), arm(TimerGrace))
}

func (b *Backend) fault() []Action {
	acts := b.drop()
	if b.Phase != BackConnected && b.Phase != BackEarly {
		return acts
	}
	return append(acts, b.enter(BackClosing, show(Closing))...)
}

func (b *Backend) failed(blameless bool) []Action {
	if b.held {
		// The hold's timer is the next attempt, whose failure counts again.
		b.wants, b.failures = true, max(b.failures, 1)
		return b.enter(BackHold)
	}
	if !blameless || b.failures == 0 {
		b.failures++
	}
	if b.failures < maxConnects {
		b.wants = true
		return b.enter(BackInitWait, arm(TimerRetry))
	}
	b.failures, b.wants = 0, false
	return b.enter(BackClosing, show(Closing))
}

func (b *Backend) timer() []Action {
	switch b.Phase {
	case BackHold, BackInitWait:
		b.held = false
		if b.wants {
			return b.connect()
		}
		return b.enter(BackInitWait)
	case BackEarly:
		return b.enter(BackConnected, show(Connected))
	case BackRefusing:
		return b.enter(BackRefused, show(Closed))
	case BackClosed:
		return b.enter(BackInitWait, show(InitWait))
	case BackClosing:
		if b.Offline {
			return b.closed()
		}
	case BackRemoving:
		return b.enter(BackGone, Action{Kind: Remove}, Action{Kind: Forget})
	}
	return nil
}

// frontend handles what the frontend's state node says.
func (b *Backend) frontend(ev BackEvent) []Action {
	ready := ev.Frontend == Initialised || ev.Frontend == Connected
	fresh := ev.Frontend == Initialising || ev.Frontend == InitWait
	switch b.Phase {
	case BackHold:
		if ready && (b.failures == 0 || ev.NewRing) {
			return b.connect()
		}
		if ev.Frontend != Unknown {
			b.wants = ready
		}
	case BackInitWait:
		switch {
		case ready && (b.failures == 0 || ev.NewRing):
			return b.connect()
		case !ready && ev.Frontend != Unknown:
			b.wants, b.failures = false, 0
		}
	case BackEarly:
		return b.earlyFrontend(ev, ready, fresh)
	case BackConnected:
		return b.connectedFrontend(ev, ready, fresh)
	case BackClosing:
		return b.closingFrontend(ev, ready, fresh)
	case BackClosed:
		switch {
		case ready:
			return append([]Action{show(InitWait)}, b.connect()...)
		case fresh:
			return b.enter(BackInitWait, show(InitWait))
		}
	}
	return nil
}

// earlyFrontend is connectedFrontend while InitWait is held.
func (b *Backend) earlyFrontend(ev BackEvent, ready, fresh bool) []Action {
	switch {
	case ready && ev.NewRing:
		return append(b.drop(), b.connect()...)
	case fresh, ev.Frontend == Closed:
		return append(b.drop(), b.enter(BackHold)...)
	case ev.Frontend == Closing:
		return b.enter(BackClosing, show(Closing))
	}
	return nil
}

func (b *Backend) connectedFrontend(ev BackEvent, ready, fresh bool) []Action {
	switch {
	case ready && ev.NewRing:
		// Published anew without passing through Closed: Linux after resume.
		return append(b.drop(), b.connect()...)
	case fresh:
		return append(b.drop(), b.enter(BackInitWait, show(InitWait))...)
	case ev.Frontend == Closing:
		// Closing must stay until the frontend is Closed: a Linux guest that
		// shuts down waits for exactly this state, ignores every other, and
		// stalls five seconds if it does not read it.
		return b.enter(BackClosing, show(Closing))
	case ev.Frontend == Closed:
		// Not through Closing: a driver was unbound, and its successor may be
		// bound at once. It must not read Closed, which would end it.
		return append(b.drop(), b.enter(BackInitWait, show(InitWait))...)
	}
	return nil
}

func (b *Backend) closingFrontend(ev BackEvent, ready, fresh bool) []Action {
	switch {
	case ev.Frontend == Closed, fresh && b.Offline:
		return b.closed()
	case b.Offline:
		return nil
	case fresh:
		return append(b.drop(), b.enter(BackInitWait, show(InitWait))...)
	case ready && ev.NewRing:
		return append(append(b.drop(), show(InitWait)), b.connect()...)
	case ready && b.mapped:
		// The frontend thought better of it.
		return b.enter(BackConnected, show(Connected))
	}
	return nil
}
