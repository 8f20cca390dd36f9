package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Table shows a result to a person: what was proven, what was measured.
func Table(res Result) string {
	var b strings.Builder
	phase := ""
	head := func(p string) {
		if p != phase {
			phase = p
			fmt.Fprintf(&b, "  %s\n", p)
		}
	}
	passed := 0
	fmt.Fprintf(&b, "%s: what was checked\n", res.Scenario)
	for _, c := range res.Checks {
		head(c.Source)
		verdict := "FAIL"
		if c.OK {
			verdict = "ok"
			passed++
		}
		fmt.Fprintf(&b, "    %-4s  %s\n", verdict, c.Name)
	}
	if len(res.Metrics) > 0 {
		fmt.Fprintf(&b, "%s: what was measured\n", res.Scenario)
		phase = ""
		for _, m := range res.Metrics {
			head(m.Source)
			fmt.Fprintf(&b, "    %-60s %10.4g %s\n", m.Name, m.Value, m.Unit)
		}
	}
	verdict := "PASSED"
	if !res.OK {
		verdict = "FAILED"
	}
	if res.Void > 0 {
		fmt.Fprintf(&b, "%s: %d void runs before this one: the emulator broke a domain\n", res.Scenario, res.Void)
	}
	fmt.Fprintf(&b, "%s: %s, %d of %d checks, %.0f s, logs in %s\n", res.Scenario, verdict,
		passed, len(res.Checks), res.Seconds, res.Logs)
	return b.String()
}

// WriteJSON writes a result for a machine.
func WriteJSON(w io.Writer, res Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(res)
}
