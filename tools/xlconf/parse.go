package xlconf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A File is an xl configuration that was read.
type File struct {
	text     string
	settings map[string]value
}

// A value is a string, a number or a list, at text[start:end].
type value struct {
	kind       kind
	text       string  // of a string, without its quotes; digits of a number
	list       []value // of a list
	start, end int
}

type kind byte

const (
	isString kind = iota
	isNumber
	isList
)

// maxConfig bounds a configuration, maxDepth lists in lists.
const (
	maxConfig = 1 << 20
	maxDepth  = 8
)

// Parse reads the part of xl.cfg(5)'s syntax in which xl and this package
// cannot differ: settings NAME = VALUE, one a line or with semicolons between;
// values are strings in single or double quotes, numbers and lists; comments
// begin with #. Refused are backslashes in strings, += and names that are set
// twice, with the line's number.
func Parse(b []byte) (*File, error) {
	if len(b) > maxConfig {
		return nil, fmt.Errorf("xlconf: the configuration has %d bytes, more than %d", len(b), maxConfig)
	}
	for i, c := range b {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7F {
			return nil, fmt.Errorf("xlconf: line %d has the control character %#02x", 1+strings.Count(string(b[:i]), "\n"), c)
		}
	}
	p := &parser{text: string(b)}
	f := &File{text: p.text, settings: map[string]value{}}
	for {
		p.skip(" \t\n;")
		if p.pos == len(p.text) {
			return f, nil
		}
		name, v, err := p.setting()
		if err == nil && f.has(name) {
			err = p.errorf("%s is set a second time", name)
		}
		if err != nil {
			return nil, err
		}
		f.settings[name] = v
	}
}

func (f *File) has(name string) bool { _, ok := f.settings[name]; return ok }

// Has returns those of names that the configuration sets.
func (f *File) Has(names ...string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !f.has(n) })
}

// Text returns a string. It is an error if the name is not set, or is set to
// something else than a string.
func (f *File) Text(name string) (string, error) {
	v, ok := f.settings[name]
	if !ok {
		return "", fmt.Errorf("xlconf: there is no %s = \"...\"", name)
	}
	if v.kind != isString {
		return "", fmt.Errorf("xlconf: %s is not a string", name)
	}
	return v.text, nil
}

// WithText returns the configuration with another value for a string that it
// sets, and all else as it was.
func (f *File) WithText(name, s string) ([]byte, error) {
	if _, err := f.Text(name); err != nil {
		return nil, err
	}
	if err := text(name, s); err != nil {
		return nil, err
	}
	v := f.settings[name]
	return []byte(f.text[:v.start] + `"` + s + `"` + f.text[v.end:]), nil
}

type parser struct {
	text string
	pos  int
}

func (p *parser) errorf(format string, args ...any) error {
	line := 1 + strings.Count(p.text[:p.pos], "\n")
	return fmt.Errorf("xlconf: line %d: %s", line, fmt.Sprintf(format, args...))
}

// skip passes over the characters of set, and over comments.
func (p *parser) skip(set string) {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case strings.IndexByte(set, c) >= 0:
			p.pos++
		case c == '#':
			if n := strings.IndexByte(p.text[p.pos:], '\n'); n >= 0 {
				p.pos += n
			} else {
				p.pos = len(p.text)
			}
		default:
			return
		}
	}
}

// take passes over the longest run of characters of set.
func (p *parser) take(set string) string {
	start := p.pos
	for p.pos < len(p.text) && strings.IndexByte(set, p.text[p.pos]) >= 0 {
		p.pos++
	}
	return p.text[start:p.pos]
}

// at passes over c if it is next.
func (p *parser) at(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// The characters of tokens.
const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// setting reads NAME = VALUE and what must end it.
func (p *parser) setting() (string, value, error) {
	name := p.take(letters + digits + "_")
	if name == "" || strings.IndexByte(letters, name[0]) < 0 {
		return "", value{}, p.errorf("a setting must begin with a name of lower case letters, digits and _")
	}
	p.skip(" \t")
	if !p.at('=') {
		return "", value{}, p.errorf("there must be = behind %s", name)
	}
	p.skip(" \t")
	v, err := p.value(0)
	if err != nil {
		return "", v, err
	}
	p.skip(" \t")
	if p.pos < len(p.text) && !p.at('\n') && !p.at(';') {
		return "", v, p.errorf("there is more behind the value of %s", name)
	}
	return name, v, nil
}

func (p *parser) value(depth int) (value, error) {
	start := p.pos
	for _, quote := range []byte{'"', '\''} {
		if p.at(quote) {
			return p.quoted(start, quote)
		}
	}
	if p.at('[') {
		return p.list(start, depth)
	}
	n := p.take(digits + letters)
	if _, err := strconv.ParseUint(n, 0, 63); err != nil {
		return value{}, p.errorf("a value must be a string in quotes, a number or a list")
	}
	return value{kind: isNumber, text: n, start: start, end: p.pos}, nil
}

// quoted reads a string behind its first quote.
func (p *parser) quoted(start int, quote byte) (value, error) {
	n := strings.IndexAny(p.text[p.pos:], string([]byte{quote, '\\', '\n'}))
	if n < 0 || p.text[p.pos+n] == '\n' {
		return value{}, p.errorf("the string does not end")
	}
	if p.text[p.pos+n] == '\\' {
		return value{}, p.errorf("a string has a backslash, which is not supported")
	}
	s := p.text[p.pos : p.pos+n]
	p.pos += n + 1
	return value{kind: isString, text: s, start: start, end: p.pos}, nil
}

// list reads values with commas between them, behind the bracket. New lines
// may be anywhere, and a comma behind the last value.
func (p *parser) list(start, depth int) (value, error) {
	if depth == maxDepth {
		return value{}, p.errorf("more than %d lists in lists", maxDepth)
	}
	v := value{kind: isList, start: start}
	for {
		p.skip(" \t\n")
		if p.at(']') {
			v.end = p.pos
			return v, nil
		}
		e, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.list = append(v.list, e)
		p.skip(" \t\n")
		if !p.at(',') && (p.pos == len(p.text) || p.text[p.pos] != ']') {
			return v, p.errorf("there must be a comma or ] behind a value of the list")
		}
	}
}
