// Command stubimage makes, describes, signs and verifies the stub domain
// images.
//
//	stubimage note FILE ...        add the PVH entry note to a linked image
package main

import (
	"errors"
	"fmt"
	"os"

	"xenvtpm/tools/stubimage/elfnote"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stubimage:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 || args[0] != "note" {
		return errors.New("usage: stubimage note FILE ...")
	}
	for _, name := range args[1:] {
		if err := note(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// note adds the note in place, through a temporary file.
func note(name string) error {
	image, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	out, added, err := elfnote.Add(image)
	if err != nil || !added {
		return err
	}
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, out, st.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
