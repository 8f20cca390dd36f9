//go:build tamago

package runtime

// One M and no preemption: a lock can never be contended, and a note can only
// be awaited by letting other goroutines run.

const (
	mutex_unlocked = 0
	mutex_locked   = 1

	active_spin     = 4
	active_spin_cnt = 30
)

type mWaitList struct{}

func lockVerifyMSize() {}

func mutexContended(l *mutex) bool { return false }

func lock(l *mutex) { lockWithRank(l, getLockRank(l)) }

func lock2(l *mutex) {
	if l.key == mutex_locked {
		throw("self deadlock")
	}
	gp := getg()
	if gp.m.locks < 0 {
		throw("lock count")
	}
	gp.m.locks++
	l.key = mutex_locked
}

func unlock(l *mutex) { unlockWithRank(l) }

func unlock2(l *mutex) {
	if l.key == mutex_unlocked {
		throw("unlock of unlocked lock")
	}
	gp := getg()
	gp.m.locks--
	if gp.m.locks < 0 {
		throw("lock count")
	}
	l.key = mutex_unlocked
	// As on other systems: a preemption request that came while the lock
	// was held is honoured at the next function call.
	if gp.m.locks == 0 && gp.preempt {
		gp.stackguard0 = stackPreempt
	}
}

func noteclear(n *note) { n.key = 0 }

func notewakeup(n *note) {
	if n.key != 0 {
		throw("notewakeup - double wakeup")
	}
	n.key = 1
}

func notesleep(n *note) { throw("notesleep: GOOS=tamago has one M") }

func notetsleep(n *note, ns int64) bool {
	throw("notetsleep: GOOS=tamago has one M")
	return false
}

// notetsleepg yields until the note is set or ns nanoseconds are over
// (negative: no limit).
func notetsleepg(n *note, ns int64) bool {
	deadline := nanotime() + ns
	for n.key == 0 {
		if ns >= 0 && nanotime() >= deadline {
			return false
		}
		Gosched()
	}
	return true
}

func checkTimeouts() {}
