package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A group sums packages up.
type group struct {
	name         string
	packages     int
	lines, bytes int64
}

// groupOf names the group of a package: this project, a module, or a part of
// the standard library.
func groupOf(p Package, module string) string {
	first, _, _ := strings.Cut(p.Path, "/")
	switch {
	case p.Module == module:
		return "1 this project"
	case p.Module != "std":
		return "2 " + p.Module + " " + p.Version
	case first == "runtime" || strings.HasPrefix(p.Path, "internal/runtime"):
		return "3 Go runtime"
	case first == "crypto" || strings.HasPrefix(p.Path, "vendor/golang.org/x/crypto"):
		return "4 Go standard library: crypto"
	}
	return "5 Go standard library: the rest"
}

func groups(im *Image, module string) []group {
	byName := map[string]*group{}
	for _, p := range im.Packages {
		name := groupOf(p, module)
		g := byName[name]
		if g == nil {
			g = &group{name: name}
			byName[name] = g
		}
		g.packages++
		g.lines += int64(p.Lines)
		g.bytes += p.Bytes
	}
	var list []group
	for _, g := range byName {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b group) int { return cmp.Compare(a.name, b.name) })
	return list
}

// Print writes the tables of an image; module is the main module's path and
// most the number of packages to list.
func Print(w io.Writer, im *Image, module string, most int) error {
	fmt.Fprintf(w, "%s: %d bytes loaded, %d more of zeroed memory\n", im.Name, im.Total, im.BSS)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "bytes\tlines of code\tpackages\t  part")
	var lines int64
	packages := 0
	for _, g := range groups(im, module) {
		fmt.Fprintf(tw, "%d\t%d\t%d\t  %s\n", g.bytes, g.lines, g.packages, g.name[2:])
		lines += g.lines
		packages += g.packages
	}
	fmt.Fprintf(tw, "%d\t\t\t  line tables, types, strings\n", im.Tables)
	fmt.Fprintf(tw, "%d\t%d\t%d\t  all\n\n", im.Total, lines, packages)
	for _, m := range im.Modules {
		fmt.Fprintf(tw, "\t\t\t  %s %s %s\n", m.Path, m.Version, m.Sum)
	}
	fmt.Fprintln(tw, "bytes\tlines of code\t\t  largest packages")
	for i, p := range im.Packages {
		if i == most {
			break
		}
		fmt.Fprintf(tw, "%d\t%d\t\t  %s\n", p.Bytes, p.Lines, p.Path)
	}
	return tw.Flush()
}
