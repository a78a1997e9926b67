// Package leaktest looks for what a package's tests left behind: goroutines,
// open files, and child processes that nobody waited for. Only tests import it,
// in TestMain.
package leaktest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"go.uber.org/goleak"
)

// M is what runs tests, such as a *testing.M.
type M interface{ Run() int }

// Checked is an M that also fails when something is left.
func Checked(m M) M { return checked{m, 5 * time.Second} }

// Main runs tests, and exits. It is for a TestMain.
func Main(m M) { os.Exit(Checked(m).Run()) }

type checked struct {
	m    M
	wait time.Duration // for what is about to end
}

// Run implements M.
func (c checked) Run() int {
	ignore := goleak.IgnoreCurrent()
	before := files()
	code := c.m.Run()
	if f := flag.Lookup("test.fuzz"); code != 0 || f != nil && f.Value.String() != "" {
		return code // what a failure or a fuzzer leaves is no news
	}
	for range 3 { // pipes that package net keeps to copy between connections: one for their pool, one for its victims, one to close
		runtime.GC()
	}
	err := errors.Join(c.settle(func() error { return goleak.Find(ignore) }), c.settle(func() error {
		if after := files(); len(after) > len(before) {
			return fmt.Errorf("%d files are open, %d were before: %q", len(after), len(before), after)
		}
		return nil
	}), c.settle(zombies))
	if err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		return 1
	}
	return code
}

// settle checks until nothing is left, or wait is over.
func (c checked) settle(look func() error) error {
	for deadline := time.Now().Add(c.wait); ; time.Sleep(10 * time.Millisecond) {
		if err := look(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// notOurs are files of Go's runtime and of containerd's content store, which
// leaves the file that it tests for fs-verity to the garbage collector.
var notOurs = regexp.MustCompile(`^anon_inode:|^/proc/|^/sys/|/\.fsverity-check-`)

// files are the open files of this process, where there is a /proc.
func files() (open []string) {
	links, _ := filepath.Glob("/proc/self/fd/*") // none elsewhere
	for _, link := range links {
		target, err := os.Readlink(link)
		if err == nil && !notOurs.MatchString(target) {
			open = append(open, target)
		}
	}
	return open
}

// zombies fails when a child of this process has ended and nobody waited for
// it.
func zombies() error {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // none elsewhere
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// After the name in parentheses: state, parent.
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[0] == "Z" && fields[1] == fmt.Sprint(os.Getpid()) {
			return fmt.Errorf("a child that nobody waited for: %s", text)
		}
	}
	return nil
}
