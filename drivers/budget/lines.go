package budget

import (
	"fmt"
	"time"
)

// ConsoleRate is what one client may write to a console that it shares.
var ConsoleRate = Rate{Burst: 30, Every: 10 * time.Second}

// Lines writes lines about one client, within ConsoleRate. What is left out is
// counted, and named once, with the next line or by Report.
type Lines struct {
	bucket Bucket
	lost   int
}

// Printf writes a line to logf, or counts it. who begins the line that names lost ones.
func (l *Lines) Printf(logf func(string, ...any), now int64, who, format string, args ...any) {
	need := 1
	if l.lost > 0 {
		need = 2
	}
	if !l.bucket.Take(ConsoleRate, now, need) {
		l.lost++
		return
	}
	l.name(logf, who)
	logf("%s", fmt.Sprintf(format, args...))
}

// Report names what was left out, when there is room for that.
func (l *Lines) Report(logf func(string, ...any), now int64, who string) {
	if l.lost > 0 && l.bucket.Take(ConsoleRate, now, 1) {
		l.name(logf, who)
	}
}

// Due is when Report has something to say; false if it has not.
func (l *Lines) Due() (at int64, ok bool) { return l.bucket.Ready(ConsoleRate, 1), l.lost > 0 }

// Idle reports whether nothing is lost by forgetting l.
func (l *Lines) Idle(now int64) bool { return l.lost == 0 && l.bucket.Full(now) }

func (l *Lines) name(logf func(string, ...any), who string) {
	if l.lost > 0 {
		logf("%s: %d lines left out", who, l.lost)
		l.lost = 0
	}
}

// maxClients bounds the memory of a Console.
const maxClients = 1024

// Console writes lines about many clients, each within ConsoleRate.
type Console[Client comparable] struct {
	Logf    func(string, ...any)
	Now     func() int64
	Who     func(Client) string // the client's name in a line about what was left out
	clients map[Client]*Lines
	others  Lines // of all for whom there is no room
}

// Printf writes a line about a client, or counts it.
func (c *Console[Client]) Printf(client Client, format string, args ...any) {
	now := c.Now()
	l, who := c.of(client, now)
	l.Printf(c.Logf, now, who, format, args...)
}

// of finds a client's budget, and whose it is.
func (c *Console[Client]) of(client Client, now int64) (*Lines, string) {
	if l := c.clients[client]; l != nil {
		return l, c.Who(client)
	}
	if c.clients == nil {
		c.clients = map[Client]*Lines{}
	}
	if len(c.clients) >= maxClients {
		c.forget(now)
	}
	if len(c.clients) >= maxClients {
		return &c.others, "others"
	}
	l := &Lines{}
	c.clients[client] = l
	return l, c.Who(client)
}

func (c *Console[Client]) forget(now int64) {
	for client, l := range c.clients {
		if l.Idle(now) {
			delete(c.clients, client)
		}
	}
}

// Report names what was left out, where its client may write again, and returns
// when it wants to be called again; false if not.
func (c *Console[Client]) Report() (at int64, ok bool) {
	now := c.Now()
	name := func(l *Lines, who string) {
		l.Report(c.Logf, now, who)
		if due, lost := l.Due(); lost && (!ok || due < at) {
			at, ok = due, true
		}
	}
	for client, l := range c.clients {
		name(l, c.Who(client))
	}
	name(&c.others, "others")
	return at, ok
}
