package abi

// XenbusState is the value of a device's state node (io/xenbus.h).
type XenbusState int

// States.
const (
	XenbusStateUnknown       XenbusState = 0
	XenbusStateInitialising  XenbusState = 1
	XenbusStateInitWait      XenbusState = 2
	XenbusStateInitialised   XenbusState = 3
	XenbusStateConnected     XenbusState = 4
	XenbusStateClosing       XenbusState = 5
	XenbusStateClosed        XenbusState = 6
	XenbusStateReconfiguring XenbusState = 7
	XenbusStateReconfigured  XenbusState = 8
)

var xenbusStateNames = [...]string{
	"Unknown", "Initialising", "InitWait", "Initialised", "Connected",
	"Closing", "Closed", "Reconfiguring", "Reconfigured",
}

func (s XenbusState) String() string {
	if s >= 0 && int(s) < len(xenbusStateNames) {
		return xenbusStateNames[s]
	}
	return "invalid"
}
