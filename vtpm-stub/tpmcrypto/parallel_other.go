//go:build !linux

package tpmcrypto

// elsewhere runs f in a goroutine; the function that is returned waits for its end.
func elsewhere(f func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return func() { <-done }
}
