//go:build tamago

package sysrand

import "runtime/goos"

func read(b []byte) error {
	goos.GetRandomData(b)
	return nil
}
