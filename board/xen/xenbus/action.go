package xenbus

// ActionKind is something a machine asks its driver to do.
type ActionKind uint8

// Actions.
const (
	SetState   ActionKind = iota // write State to our own state node
	Connect                      // backend: map and bind; report the result as an event
	Disconnect                   // unmap or unshare, close the port; also when there is nothing
	SetTimer                     // arm the one timer; replaces an earlier one
	Remove                       // backend: delete our directory if it is still offline
	Forget                       // backend: drop the record of the device
	Publish                      // frontend: share, allocate, write the nodes; report the result
	Unpublish                    // frontend: delete the nodes that Publish wrote
	Check                        // frontend: read what the backend offers; report the result
	Early                        // frontend: use the ring already if the backend, in InitWait, offers that
)

// Timer names a delay; how long it is the driver decides.
type Timer uint8

// Timers.
const (
	// TimerInitWait keeps InitWait readable: libxl waits for exactly that
	// state and re-reads the node after the event, so it misses a value that is
	// overwritten at once.
	TimerInitWait Timer = iota
	TimerRetry          // until another try of a failed Connect
	TimerClosed         // keeps Closed readable before InitWait
	TimerGrace          // how long a frontend may take to close when it is being removed
	TimerRemove         // keeps Closed readable before the directory goes: libxl reads it once more
	TimerClose          // frontend: how long the backend may take to close
)

// An Action is one thing to do. State goes with SetState, Timer with SetTimer.
type Action struct {
	Kind  ActionKind
	State State
	Timer Timer
}

func show(s State) Action { return Action{Kind: SetState, State: s} }

func arm(t Timer) Action { return Action{Kind: SetTimer, Timer: t} }
