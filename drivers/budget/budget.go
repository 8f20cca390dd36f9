// Package budget bounds what a client may cost in a time: lines of a console,
// events, commands of a shared device. Times are monotonic nanoseconds.
package budget

import "time"

// Rate is Burst units at once, and one more every Every.
type Rate struct {
	Burst int
	Every time.Duration
}

// Bucket is what one client has left. The zero Bucket is full.
type Bucket struct {
	paid int64 // when all that was taken will have come in again
}

// Take takes n units, at most Burst, if there are so many.
func (b *Bucket) Take(r Rate, now int64, n int) bool {
	if b.Ready(r, n) > now {
		return false
	}
	b.paid = max(b.paid, now) + int64(n)*int64(r.Every)
	return true
}

// Ready is the time from which on n units can be taken.
func (b *Bucket) Ready(r Rate, n int) int64 {
	return b.paid - int64(r.Burst-n)*int64(r.Every)
}

// Full reports whether the bucket is as one that was never used.
func (b *Bucket) Full(now int64) bool { return b.paid <= now }
