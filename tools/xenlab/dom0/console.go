package dom0

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"xenvtpm/tools/xenlab/report"
)

// Console follows the log that xenconsoled keeps of a domain's console. Each
// line goes to the host as it comes.
type Console struct {
	name  string
	mu    sync.Mutex
	lines []string
	part  string // a line without its end yet
	stop  chan struct{}
	done  chan struct{}
}

const consoleDir = "/var/log/xen/console/"

// follow starts at the present end of the log, because xenconsoled appends when a name comes back.
func (l *Lab) follow(name string, g *guestReports) *Console {
	c := &Console{name: name, stop: make(chan struct{}), done: make(chan struct{})}
	file := consoleDir + "guest-" + name + ".log"
	var offset int64
	if st, err := os.Stat(file); err == nil {
		offset = st.Size()
	}
	go c.read(file, offset, func(line string) {
		l.send(report.Record{Kind: report.Console, Source: name, Text: line})
		l.line(g, name, line)
	})
	return c
}

func (c *Console) read(file string, offset int64, emit func(string)) {
	defer close(c.done)
	buf := make([]byte, 16<<10)
	for {
		stopping := false
		select {
		case <-c.stop:
			stopping = true
		default:
		}
		n := readAt(file, offset, buf)
		offset += int64(n)
		for _, line := range c.add(buf[:n]) {
			emit(line)
		}
		if n == 0 {
			if stopping {
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
	}
}

// readAt returns 0 as long as the file is missing or has no more.
func readAt(file string, offset int64, buf []byte) int {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	n, _ := f.ReadAt(buf, offset) // io.EOF is the normal case
	return n
}

// add appends raw console output and returns the lines that it completed.
func (c *Console) add(raw []byte) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := strings.Split(c.part+string(raw), "\n")
	c.part = parts[len(parts)-1]
	var fresh []string
	for _, p := range parts[:len(parts)-1] {
		fresh = append(fresh, strings.TrimRight(p, "\r"))
	}
	c.lines = append(c.lines, fresh...)
	return fresh
}

// Lines returns all lines so far, and an unfinished one.
func (c *Console) Lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := append([]string(nil), c.lines...)
	if c.part != "" {
		lines = append(lines, c.part)
	}
	return lines
}

// Find returns the first line at or after index from that contains text, and the
// index after it.
func (c *Console) Find(from int, text string) (string, int, bool) {
	lines := c.Lines()
	for i := from; i < len(lines); i++ {
		if strings.Contains(lines[i], text) {
			return lines[i], i + 1, true
		}
	}
	return "", from, false
}

// WaitAny waits for a line that contains one of the texts.
func (c *Console) WaitAny(limit time.Duration, texts ...string) (string, error) {
	var line string
	err := waitFor(limit, fmt.Sprintf("one of %q on the console of %s", texts, c.name), func() bool {
		for _, text := range texts {
			if l, _, ok := c.Find(0, text); ok {
				line = l
				return true
			}
		}
		return false
	})
	if err != nil {
		err = fmt.Errorf("%w; its last lines are:\n%s", err, c.Tail(8))
	}
	return line, err
}

// Tail returns the last n lines.
func (c *Console) Tail(n int) string {
	lines := c.Lines()
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Close reads what is left and stops following.
func (c *Console) Close() {
	close(c.stop)
	<-c.done
}
