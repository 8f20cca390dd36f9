package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// What the project promises.
const (
	wantMean = 2.5
	wantRSS  = 40_000_000           // octets
	wantTime = 3 * time.Microsecond // of the simplest commands in process
)

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f us", d.Seconds()*1e6)
}

// cells are the rows as text: name, swtpm, vtpmd, ratio.
func (r *result) cells() [][4]string {
	var out [][4]string
	for _, w := range r.Rows {
		out = append(out, [4]string{w.Name, short(w.Swtpm.Median), short(w.Vtpmd.Median), fmt.Sprintf("%.2f", w.Ratio)})
		if w.KeyGen {
			out = append(out, [4]string{"  95th percentile", short(w.Swtpm.P95), short(w.Vtpmd.P95), fmt.Sprintf("%.2f", float64(w.Swtpm.P95)/float64(max(1, w.Vtpmd.P95)))})
		}
		if w.Durable != nil {
			out = append(out, [4]string{"  durable (swtpm cannot)", "", short(w.Durable.Median), ""})
		}
	}
	s, v := r.Memory["swtpm"], r.Memory["vtpmd"]
	out = append(out,
		[4]string{"geometric mean", "", "", fmt.Sprintf("%.2f", r.Mean)},
		[4]string{"the socket alone (no TPM can be faster)", short(r.Floor.Median), short(r.Floor.Median), ""},
		[4]string{"resident memory", mb(s.Now), mb(v.Now), ""},
		[4]string{"  its peak", mb(s.Peak), mb(v.Peak), ""})
	for _, e := range r.InProcess {
		out = append(out, [4]string{inProcess + e.Name, "", fmt.Sprintf("%.2f us", e.Time.Seconds()*1e6), ""})
	}
	return out
}

func mb(kib int) string { return fmt.Sprintf("%.1f MB", float64(kib)*1024/1e6) }

func (r *result) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "command\tswtpm\tvtpmd\ttimes as fast\t\n")
	for _, c := range r.cells() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", c[0], c[1], c[2], c[3])
	}
	return t.Flush()
}

const heading = `# vtpmd and swtpm, command by command

Made by ` + "`go run ./tools/vtpmbench -o docs/benchmarks.md`" + `. Both programs serve a Unix
socket in one run and take turns; only the time between a command and its answer
counts, medians are shown. A turn takes 20 ms: for a millisecond or so after a pause Go's
runtime looks after its program often, and what is asked then takes up to a fifth longer.
vtpmd runs with ` + "`--tpmstate dir=...,nofsync`" + `, because swtpm
never syncs its state to disk; NV_Write is shown durable as well. Times depend on
the machine and on what else it does; ratios are what to look at. The client makes bare
system calls on a blocking socket, the same for both. Client and TPM share one
processor, as to call the other one takes longer than most commands, and processes of
the scheduler's idle class keep the processors from sleeping, as to wake a virtual one
takes longer still. SelfTest, RSA keys and RSA signatures have all processors and no such
company; the start has all of them.
`

// writeFile writes the table as Markdown.
func (r *result) writeFile(name string) error {
	var b strings.Builder
	b.WriteString(heading)
	fmt.Fprintf(&b, "\n%s, %s, swtpm %s.\n\n| command | swtpm | vtpmd | times as fast |\n|---|---:|---:|---:|\n", r.Date, r.CPU, r.Version)
	for _, c := range r.cells() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.Replace(c[0], "  ", "&nbsp;&nbsp;", 1), c[1], c[2], c[3])
	}
	b.WriteString(r.bound())
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

// bound says what the socket leaves to gain.
func (r *result) bound() string {
	const cheap = 3 // times the floor
	floor := float64(max(r.Floor.Median, 1))
	n, best := 0, 0.0
	for _, w := range r.Rows {
		if t := float64(w.Swtpm.Median); t < cheap*floor {
			n++
			best = max(best, t/floor)
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(`
A command and its answer of the same size take %s between this client and a
process that does nothing but one read and one write. swtpm answers the commands of %d
lines in less than %d times that, so that a TPM that took no time at all would be at
most %.1f times as fast there. What vtpmd gains, it gains on the other lines.
`, short(r.Floor.Median), n, cheap, best)
}

// check compares with what the project promises.
func (r *result) check() error {
	var errs []error
	for _, w := range r.Rows {
		if w.Ratio < 1 {
			errs = append(errs, fmt.Errorf("%s is slower than swtpm: %.2f", w.Name, w.Ratio))
		}
	}
	if r.Mean < wantMean {
		errs = append(errs, fmt.Errorf("the geometric mean is %.2f, less than %.1f", r.Mean, wantMean))
	}
	for _, e := range r.InProcess {
		if e.Time > wantTime || e.Allocs > 0 {
			errs = append(errs, fmt.Errorf("%s takes %v and %d allocations in process, more than %v and none", e.Name, e.Time, e.Allocs, wantTime))
		}
	}
	if n := r.Memory["vtpmd"].Peak * 1024; n > wantRSS {
		errs = append(errs, fmt.Errorf("vtpmd took %d octets of memory, more than %d", n, wantRSS))
	}
	return errors.Join(errs...)
}
