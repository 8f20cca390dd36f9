package main

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestConfine(t *testing.T) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	p := exec.Command("sleep", "60")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	}()
	one := oneOf(&all)
	if one.Count() != 1 {
		t.Fatalf("%d processors instead of one", one.Count())
	}
	for _, want := range []*unix.CPUSet{one, &all} {
		var got unix.CPUSet
		if err := confine(want, p.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if err := unix.SchedGetaffinity(p.Process.Pid, &got); err != nil || got != *want {
			t.Errorf("the process may run on %d processors, want %d (%v)", got.Count(), want.Count(), err)
		}
	}
	if err := confine(one, 1<<30); !os.IsNotExist(err) {
		t.Errorf("a process that does not exist: %v", err)
	}
}
