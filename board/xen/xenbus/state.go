// Package xenbus has the device-state machines of both ends of a split driver
// and the xenstore nodes through which the ends see each other.
//
// The machines are pure: Step takes an event and returns what to do. Time,
// xenstore and pages stay outside, so that every state can be met with every
// event in a table test.
//
// Sources: xen/include/public/io/xenbus.h and io/blkif.h, the behaviour of
// libxl (which waits for states 2 and 6 and for the removal of the backend's
// directory) and of Linux's xenbus client.
//
// Threat model: the peer writes its state at will and lies about everything it
// publishes. No order of events panics or blocks; what the toolstack wrote in
// our own directory is trusted.
package xenbus

import "strconv"

// State is a device state as it stands in a `state` node (enum xenbus_state).
type State uint8

// Device states.
const (
	Unknown       State = 0 // no node, or none of the others
	Initialising  State = 1
	InitWait      State = 2 // finished early initialisation, waits for the peer
	Initialised   State = 3 // waits for a connection from the peer
	Connected     State = 4
	Closing       State = 5 // being closed because of an error or an unplug
	Closed        State = 6
	Reconfiguring State = 7
	Reconfigured  State = 8
)

var stateNames = [...]string{
	"Unknown", "Initialising", "InitWait", "Initialised", "Connected",
	"Closing", "Closed", "Reconfiguring", "Reconfigured",
}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// Node is the text of s for a `state` node.
func (s State) Node() string { return strconv.Itoa(int(s)) }

// ParseState reads the text of a `state` node. Everything that is not the
// number of a state is Unknown.
func ParseState(text string) State {
	if len(text) == 1 && text[0] >= '1' && text[0] <= '8' {
		return State(text[0] - '0')
	}
	return Unknown
}
