package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	stopLimit = 20 * time.Second // a daemon that has not ended by then is killed
	logTail   = 16 << 10         // bytes of a daemon's log shown when its test fails
)

// process is a daemon that lives as long as its test.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start starts a daemon in a process group of its own. At the end of the test it gets SIGTERM, then
// SIGKILL; its log is shown when the test has failed.
func start(t testing.TB, name string, args ...string) *process {
	t.Helper()
	return startWith(t, nil, name, args...)
}

// startWith starts a daemon that inherits files, from descriptor 3 on.
func startWith(t testing.TB, files []*os.File, name string, args ...string) *process {
	t.Helper()
	p := &process{
		cmd:  exec.Command(name, args...), // ended by the cleanup, when t.Context is done
		log:  filepath.Join(t.TempDir(), filepath.Base(name)+".log"),
		done: make(chan struct{}),
	}
	log, err := os.Create(p.log)
	must(t, err)
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = log, log, files
	p.cmd.SysProcAttr = ownGroup()
	must(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the state is in cmd, and a daemon stopped by a signal is no failure
	}()
	t.Cleanup(func() {
		p.stop(t)
		p.show(t)
	})
	return p
}

func (p *process) stop(t testing.TB) {
	t.Helper()
	if p.ended() {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) { // it may be ending just now
		must(t, err)
	}
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		t.Errorf("%s did not end within %s of SIGTERM", p.cmd.Path, stopLimit)
	}
	// What is left of the group, the daemon included when it did not end.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// await waits until the daemon is ready, or fails at once when it has ended.
func (p *process) await(t testing.TB, ready func() bool) {
	t.Helper()
	await(t, p.cmd.Path, 30*time.Second, func() bool {
		if p.ended() {
			t.Fatalf("%s ended at once: %s", p.cmd.Path, p.cmd.ProcessState)
		}
		return ready()
	})
}

func (p *process) show(t testing.TB) {
	if !t.Failed() {
		return
	}
	log, err := os.ReadFile(p.log)
	if err != nil {
		t.Log(err)
		return
	}
	if len(log) > logTail {
		log = log[len(log)-logTail:]
	}
	t.Logf("log of %s:\n%s", p.cmd.Path, log)
}

// runCommand runs a program to its end and returns what it wrote to stdout.
func runCommand(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}
