// Package report is what dom0 tells the host about a scenario: one JSON
// object a line on a channel of its own, so that it never mixes with a
// console.
package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Kind says what a Record is.
type Kind string

const (
	Log     Kind = "log"     // Text is progress for a person
	Console Kind = "console" // Text is one line of the console of Source
	Check   Kind = "check"   // Name was proven (OK) or refuted
	Metric  Kind = "metric"  // Name was measured: Value Unit
	Value   Kind = "value"   // Name has the value Text, such as a key's name
	Done    Kind = "done"    // the job has ended; OK is its result
)

// MaxLine bounds an encoded record. Longer texts are cut.
const MaxLine = 16 << 10

// Record is one line.
type Record struct {
	Kind   Kind    `json:"kind"`
	Source string  `json:"source,omitempty"`
	Name   string  `json:"name,omitempty"`
	Text   string  `json:"text,omitempty"`
	OK     bool    `json:"ok,omitempty"`
	Value  float64 `json:"value,omitempty"`
	Unit   string  `json:"unit,omitempty"`
	At     float64 `json:"at"` // seconds since the writer started
}

// Writer sends records. It is safe for concurrent use.
type Writer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, start: time.Now()} }

// Send writes one record.
func (w *Writer) Send(r Record) error {
	r.At = time.Since(w.start).Seconds()
	if len(r.Text) > MaxLine/4 { // JSON can need six bytes for one, but consoles do not
		r.Text = r.Text[:MaxLine/4] + " [cut]"
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.w.Write(append(b, '\n'))
	return err
}

// ErrEnded is returned by Read when the stream ends without a Done record.
var ErrEnded = errors.New("report: the stream ended before the job did")

// Read calls f for every record until one of kind Done, which it returns.
// Lines that are not records are passed as Log records.
func Read(r io.Reader, f func(Record)) (Record, error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 4096), 4*MaxLine)
	for in.Scan() {
		var rec Record
		if err := json.Unmarshal(in.Bytes(), &rec); err != nil {
			rec = Record{Kind: Log, Source: "stray", Text: in.Text()}
		}
		f(rec)
		if rec.Kind == Done {
			return rec, nil
		}
	}
	if err := in.Err(); err != nil {
		return Record{}, fmt.Errorf("report: %w", err)
	}
	return Record{}, ErrEnded
}

// ReadConsole is Read for a guest's console, where records are the lines that begin with
// GuestPrefix.
func ReadConsole(r io.Reader, f func(Record)) (Record, error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 4096), 4*MaxLine)
	for in.Scan() {
		rec := Record{Kind: Console, Source: "guest", Text: strings.TrimRight(in.Text(), "\r")}
		// The boot loader's escape sequences can stand before the first line.
		if _, raw, ok := strings.Cut(rec.Text, GuestPrefix+"{"); ok {
			var inner Record
			if err := json.Unmarshal([]byte("{"+raw), &inner); err == nil {
				rec = inner
			}
		}
		f(rec)
		if rec.Kind == Done {
			return rec, nil
		}
	}
	if err := in.Err(); err != nil {
		return Record{}, fmt.Errorf("report: %w", err)
	}
	return Record{}, ErrEnded
}

// Job is what the host asks dom0 to do: a function of package dom0 and its
// parameters. It travels as /etc/lab/job.json in the initramfs.
type Job struct {
	Step   string            `json:"step"`
	Params map[string]string `json:"params,omitempty"`
	Images string            `json:"images,omitempty"` // names, separated by commas
}

// GuestPrefix begins the lines on a guest's console that are records.
const GuestPrefix = "LAB "
