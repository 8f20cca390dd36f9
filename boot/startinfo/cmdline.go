package startinfo

import (
	"fmt"
	"strings"
)

// An Option is one word of a command line. A word without '=' has Bare set and
// an empty Value.
type Option struct {
	Key, Value string
	Bare       bool
}

// Options is a command line as a list; the order is kept and a key may occur
// more than once.
type Options []Option

// ParseCmdline splits a command line at blanks. Double quotes keep blanks
// together, anywhere in a word: key="two words" or "key=two words". There are
// no escapes. An unclosed quote is an error.
func ParseCmdline(s string) (Options, error) {
	var list Options
	var word strings.Builder
	started, quoted := false, false
	end := func() {
		if started {
			list = append(list, makeOption(word.String()))
			word.Reset()
			started = false
		}
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '"':
			quoted, started = !quoted, true
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			end()
		default:
			word.WriteByte(c)
			started = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("startinfo: command line has an unclosed quote: %q", s)
	}
	end()
	return list, nil
}

func makeOption(word string) Option {
	key, value, ok := strings.Cut(word, "=")
	return Option{Key: key, Value: value, Bare: !ok}
}

// Get returns the value of the last option with that key, as later words win.
func (o Options) Get(key string) (string, bool) {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].Key == key {
			return o[i].Value, true
		}
	}
	return "", false
}

// All returns the values of every option with that key, in order.
func (o Options) All(key string) []string {
	var list []string
	for _, opt := range o {
		if opt.Key == key {
			list = append(list, opt.Value)
		}
	}
	return list
}

// Unknown returns the first key that is not among known, or "". A misspelt
// option must be an error, not a default.
func (o Options) Unknown(known ...string) string {
next:
	for _, opt := range o {
		for _, k := range known {
			if opt.Key == k {
				continue next
			}
		}
		return opt.Key
	}
	return ""
}
