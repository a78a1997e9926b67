//go:build unix

package config

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestManyProblems: what a file full of mistakes costs grows with its length, not with its square.
func TestManyProblems(t *testing.T) {
	const lines, times = 1 << 11, 16
	few := min(problemsCost(t, lines), problemsCost(t, lines), problemsCost(t, lines))
	if many := problemsCost(t, times*lines); many > 3*times*few { // it is about as many times; of the square it would be a hundred
		t.Errorf("%d mistakes cost %s, and %d times as many %s", lines, few, times, many)
	}
}

// problemsCost is the CPU time, which other processes hardly change, for a file with a mistake on each of its lines.
func problemsCost(t *testing.T, lines int) time.Duration {
	t.Helper()
	text := []byte(strings.Repeat("x=1\n", lines))
	began := cpuTime(t)
	_, err := Parse("x.toml", text)
	took := cpuTime(t) - began
	var bad *Error
	if !errors.As(err, &bad) || len(bad.Problems) != 100 || len(bad.Problems)+bad.More != lines+2 { // and two of the registries and the mode, which are missing
		t.Fatalf("%.200v", err)
	}
	return took
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
