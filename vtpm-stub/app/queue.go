package app

import (
	"slices"
	"time"

	"xenvtpm/drivers/tpmback"
	"xenvtpm/vtpm-stub/service"
)

// guestPatience is how long a command waits for manager or disk before it is
// answered with TPM_RC_RETRY. Linux's driver waits for 120 s, and then cancels.
const guestPatience = int64(90 * time.Second)

// waiter is a command that was taken from its frontend and is not answered.
type waiter struct {
	req   *tpmback.Request
	since int64
	done  bool // executed; its answer waits until the change is durable
}

// queue are the commands that wait, first come first.
type queue struct{ list []*waiter }

// take takes what frontends have sent, one of each.
func (q *queue) take(back *tpmback.Backend, now int64) {
	for req := back.Next(); req != nil; req = back.Next() {
		q.list = append(q.list, &waiter{req: req, since: now})
	}
}

// expire ends the wait of commands that were cancelled, or have waited for long.
func (q *queue) expire(now int64, answer func(*tpmback.Request, []byte)) {
	q.list = slices.DeleteFunc(q.list, func(w *waiter) bool {
		switch {
		case w.req.Cancelled():
			// The frontend may be gone, which is as good.
			_ = w.req.Drop()
		case now-w.since >= guestPatience:
			answer(w.req, service.Busy(w.req.Command))
		default:
			return false
		}
		return true
	})
}

// next takes the first command that has not been executed.
func (q *queue) next() *waiter {
	i := slices.IndexFunc(q.list, func(w *waiter) bool { return !w.done })
	if i < 0 {
		return nil
	}
	w := q.list[i]
	q.list = slices.Delete(q.list, i, i+1)
	return w
}

// executed takes the command whose answer was withheld, if it still waits.
func (q *queue) executed() *waiter {
	i := slices.IndexFunc(q.list, func(w *waiter) bool { return w.done })
	if i < 0 {
		return nil
	}
	w := q.list[i]
	q.list = slices.Delete(q.list, i, i+1)
	return w
}

// undo has commands executed again whose answer was withheld: the TPM that had
// executed them is no more.
func (q *queue) undo() {
	for _, w := range q.list {
		w.done = false
	}
}

// back puts a command at the head.
func (q *queue) back(w *waiter) { q.list = slices.Insert(q.list, 0, w) }

// deadline is when the first of them has waited for long.
func (q *queue) deadline(at int64) int64 {
	for _, w := range q.list {
		at = min(at, w.since+guestPatience)
	}
	return at
}
