package manager

import (
	"fmt"
	"math"

	"xenvtpm/drivers/budget"
	"xenvtpm/vtpmmgr-stub/proto"
)

// console is the log as clients may use it: a line that is written while a
// client's request is served is that client's, whichever package writes it, and
// within its budget. What nobody but the host or the administrator can cause is
// always written.
type console struct {
	budget.Console[proto.UUID]
	asks *proto.UUID // whose request is being served; nil: nobody's, or the administrator's
}

func newConsole(c Config) *console {
	return &console{Console: budget.Console[proto.UUID]{Logf: c.Logf, Now: c.Clock, Who: clientName}}
}

// all is whom a line is charged to that several clients have caused together.
var all = &proto.UUID{}

func clientName(u proto.UUID) string {
	if u == *all {
		return "several vTPMs"
	}
	return fmt.Sprintf("vTPM %v", u)
}

func (c *console) logf(format string, args ...any) {
	if c.asks == nil || c.Now == nil {
		c.Logf(format, args...)
		return
	}
	c.Printf(*c.asks, format, args...)
}

// serving names whose request is served until the result is called.
func (c *console) serving(req *Request) (end func()) {
	if req.Admin {
		return c.charge(nil)
	}
	return c.charge(&req.UUID)
}

func (c *console) charge(u *proto.UUID) (end func()) {
	before := c.asks
	c.asks = u
	return func() { c.asks = before }
}

// Logf writes a line of a package below the manager, of the hardware TPM for
// one, to the console, within the budget of the client that is being served.
func (m *Manager) Logf(format string, args ...any) { m.console.logf(format, args...) }

// ReportLines names the lines that were left out, and returns when it wants to be
// called again, as a monotonic time.
func (m *Manager) ReportLines() int64 {
	if m.console.Now != nil {
		if at, ok := m.console.Report(); ok {
			return at
		}
	}
	return math.MaxInt64
}
