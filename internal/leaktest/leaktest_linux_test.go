package leaktest

import (
	"errors"
	"os"
	"testing"
	"time"
)

// tests stand for a package's.
type tests func() int

func (t tests) Run() int { return t() }

// TestChecked: tests that pass fail when they leave something behind.
func TestChecked(t *testing.T) {
	var file *os.File
	var child *os.Process
	end := make(chan struct{})
	for _, c := range []struct {
		name     string
		run      func() error
		clear    func() error
		code     int
		patience time.Duration
	}{
		{"nothing", func() error { return nil }, func() error { return nil }, 0, 20 * time.Second},
		{"goroutine", func() error { go func() { <-end }(); return nil }, func() error { close(end); return nil }, 1, 0},
		{"file", func() (err error) { file, err = os.Open("."); return err }, func() error { return file.Close() }, 1, 0},
		{"process", func() (err error) {
			child, err = os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
			for deadline := time.Now().Add(20 * time.Second); err == nil && zombies() == nil; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					err = errors.New("it does not end")
				}
			}
			return err
		}, func() error { _, err := child.Wait(); return err }, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			code := checked{m: tests(func() int {
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
				return 0
			}), wait: c.patience}.Run()
			if err := c.clear(); err != nil {
				t.Fatal(err)
			}
			if code != c.code {
				t.Errorf("ended with %d", code)
			}
		})
	}
}
