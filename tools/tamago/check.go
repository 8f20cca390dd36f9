package main

import (
	"context"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"xenvtpm/tools/tamago/contract"
	"xenvtpm/tools/tamago/toolchain"
)

// check proves that the images in dirs, or all of them, use only the
// runtime/goos contract. Exit code 1 with a line for each violation.
func check(ctx context.Context, dirs []string) (int, error) {
	m, err := toolchain.LookUp(ctx, "")
	if err != nil {
		return 2, err
	}
	if len(dirs) == 0 {
		if dirs, err = images(m.Root); err != nil {
			return 2, err
		}
	}
	c, err := contract.New(m.Root, m.Path, m.TamagoDir, m.GOROOT)
	if err != nil {
		return 2, err
	}
	for _, dir := range dirs {
		if err := c.Check(dir); err != nil {
			return 2, err
		}
	}
	found, packages := c.Result()
	for _, v := range found {
		fmt.Fprintln(os.Stderr, v)
	}
	if len(found) > 0 {
		return 1, fmt.Errorf("%d uses beyond the runtime/goos contract of %s", len(found), toolchain.Module)
	}
	fmt.Printf("contract: %d packages of %s use runtime/goos only\n", packages, strings.Join(dirs, ", "))
	return 0, nil
}

// images finds the programs that GOOS=tamago builds, host tools aside.
func images(root string) ([]string, error) {
	var dirs []string
	metal := build.Default
	metal.GOOS, metal.GOARCH, metal.CgoEnabled = "tamago", "amd64", false
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); dir != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "tools") {
			return filepath.SkipDir
		}
		pkg, err := metal.ImportDir(dir, 0)
		if err != nil || !pkg.IsCommand() {
			return nil // no package for this target
		}
		rel, err := filepath.Rel(root, dir)
		dirs = append(dirs, rel)
		return err
	})
	if err == nil && len(dirs) == 0 {
		err = errors.New("no program for GOOS=tamago in " + root)
	}
	return dirs, err
}
