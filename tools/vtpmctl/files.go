package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"xenvtpm/vtpmmgr-stub/proto"
)

// readFile reads a JSON file of ours; what names its kind in the error.
func readFile[T any](name, what string) (*T, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := proto.ParseAdmin(b, v); err != nil {
		return nil, fmt.Errorf("%s is no %s", name, what)
	}
	return v, nil
}

func writeFile(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(name, append(b, '\n'), 0o644)
}

// replaceFile writes a file so that it is the old one or the new one.
func replaceFile(name string, b []byte, perm os.FileMode) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
