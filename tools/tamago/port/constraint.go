package port

import (
	"bytes"
	"errors"
	"go/build/constraint"
	"os"
)

// errNotTagged reports a file whose constraint does not name the tag sought.
var errNotTagged = errors.New("build constraint expected here is gone")

// A change rewrites a file's build constraint; expr is nil where it has none.
type change func(expr constraint.Expr) (constraint.Expr, error)

func tagExpr(tag string) constraint.Expr { return &constraint.TagExpr{Tag: tag} }

// like makes tamago chosen wherever tag is: tag becomes (tag || tamago), and
// for js the pair (js && wasm) is taken as one.
func like(tag string) change {
	return func(expr constraint.Expr) (constraint.Expr, error) {
		if expr == nil || !mentions(expr, tag) {
			return nil, errNotTagged
		}
		return widen(expr, tag), nil
	}
}

// and narrows the constraint, or adds one where there is none.
func and(text string) change {
	return func(expr constraint.Expr) (constraint.Expr, error) {
		extra, err := constraint.Parse("//go:build " + text)
		if err != nil || expr == nil {
			return extra, err
		}
		return &constraint.AndExpr{X: expr, Y: extra}, nil
	}
}

// or widens an existing constraint.
func or(text string) change {
	return func(expr constraint.Expr) (constraint.Expr, error) {
		if expr == nil {
			return nil, errNotTagged
		}
		extra, err := constraint.Parse("//go:build " + text)
		return &constraint.OrExpr{X: expr, Y: extra}, err
	}
}

func mentions(expr constraint.Expr, tag string) bool {
	switch e := expr.(type) {
	case *constraint.TagExpr:
		return e.Tag == tag
	case *constraint.NotExpr:
		return mentions(e.X, tag)
	case *constraint.AndExpr:
		return mentions(e.X, tag) || mentions(e.Y, tag)
	case *constraint.OrExpr:
		return mentions(e.X, tag) || mentions(e.Y, tag)
	}
	return false
}

func widen(expr constraint.Expr, tag string) constraint.Expr {
	switch e := expr.(type) {
	case *constraint.TagExpr:
		if e.Tag == tag {
			return &constraint.OrExpr{X: e, Y: tagExpr(Tag)}
		}
	case *constraint.NotExpr:
		return &constraint.NotExpr{X: widen(e.X, tag)}
	case *constraint.AndExpr:
		if e.String() == "js && wasm" && tag == "js" {
			return &constraint.OrExpr{X: e, Y: tagExpr(Tag)}
		}
		return &constraint.AndExpr{X: widen(e.X, tag), Y: widen(e.Y, tag)}
	case *constraint.OrExpr:
		return &constraint.OrExpr{X: widen(e.X, tag), Y: widen(e.Y, tag)}
	}
	return expr
}

func retagFile(name string, f change) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	_, _, expr, err := findConstraint(b)
	if err != nil {
		return err
	}
	if expr, err = f(expr); err != nil {
		return err
	}
	if b, err = setConstraint(b, expr); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// findConstraint returns the span of the //go:build line and its expression,
// or a nil expression.
func findConstraint(b []byte) (start, end int, expr constraint.Expr, err error) {
	for pos := 0; pos < len(b); {
		n := bytes.IndexByte(b[pos:], '\n')
		if n < 0 {
			n = len(b) - pos
		}
		line := string(b[pos : pos+n])
		if constraint.IsGoBuild(line) {
			expr, err = constraint.Parse(line)
			return pos, pos + n, expr, err
		}
		if bytes.HasPrefix(b[pos:], []byte("package ")) || bytes.HasPrefix(b[pos:], []byte("#include")) {
			break
		}
		pos += n + 1
	}
	return 0, 0, nil, nil
}

// setConstraint replaces the //go:build line or puts one at the top.
func setConstraint(b []byte, expr constraint.Expr) ([]byte, error) {
	start, end, old, err := findConstraint(b)
	if err != nil {
		return nil, err
	}
	line := "//go:build " + expr.String()
	if old == nil {
		return append([]byte(line+"\n\n"), b...), nil
	}
	return append(append(append([]byte{}, b[:start]...), line...), b[end:]...), nil
}
