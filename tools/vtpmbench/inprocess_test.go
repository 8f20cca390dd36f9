package main

import (
	"regexp"
	"testing"
	"time"
)

func TestMeasureInProcess(t *testing.T) {
	for only, want := range map[string]int{"": 3, "in process": 3, "PCR_": 2, "Quote": 0} {
		got, err := measureInProcess(config{only: regexp.MustCompile(only), budget: time.Millisecond})
		if err != nil || len(got) != want {
			t.Fatalf("%q: %v, %v", only, got, err)
		}
		for _, e := range got {
			if e.Time <= 0 || e.Allocs != 0 {
				t.Errorf("%+v", e)
			}
		}
	}
}
