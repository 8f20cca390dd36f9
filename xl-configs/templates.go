// Package xlconfigs carries the xl configuration templates of this folder.
// Package tools/xlconf fills them in.
package xlconfigs

import "embed"

// Templates are the text/template files, one for each kind of domain.
//
//go:embed *.cfg.tmpl
var Templates embed.FS
