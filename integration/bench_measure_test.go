package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

// work is a pull that is ready to begin.
type work struct {
	commands []*exec.Cmd
	atOnce   bool       // the commands, which otherwise run one after the other
	daemons  []*process // that have a part in it
}

// measure runs a pull over new connections.
func (s *scene) measure(t testing.TB, w work) bench.Sample {
	t.Helper()
	s.link.Reset()
	s.requests()
	s.tokens.requests()
	s.helperRuns(t)
	var before time.Duration
	for _, d := range w.daemons {
		before += d.cpu(t)
		must(t, os.WriteFile(d.proc("clear_refs"), []byte("5"), 0)) // its peak is what it holds now
	}
	server := s.cpu(t)
	began := time.Now()
	cpu, peak := w.run(t)
	sample := bench.Sample{Wall: time.Since(began), CPU: cpu - before, Peak: peak}
	sample.Server = s.cpu(t) - server
	for _, d := range w.daemons {
		sample.CPU += d.cpu(t)
		sample.Peak += peakOf(d.cmd.Process.Pid)
	}
	sample.Tokens = len(s.tokens.requests())
	sample.Requests = len(s.requests()) + sample.Tokens
	sample.Helpers = s.helperRuns(t)
	sample.Traffic = s.link.Reset()
	return sample
}

// cpu is what the registry's side used so far: the registry and this process, in which the link is.
func (s *scene) cpu(t testing.TB) time.Duration {
	t.Helper()
	var own syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &own))
	return s.program.cpu(t) + time.Duration(own.Utime.Nano()+own.Stime.Nano())
}

// run runs the commands and returns their CPU time and what they held at most.
func (w work) run(t testing.TB) (cpu time.Duration, peak int64) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, cmd := range w.commands {
		one := func() {
			used, held := runMeasured(t, cmd)
			mu.Lock()
			defer mu.Unlock()
			cpu += used
			if w.atOnce {
				peak += held
			} else {
				peak = max(peak, held)
			}
		}
		if w.atOnce {
			all.Go(one)
		} else {
			one()
		}
	}
	all.Wait()
	return cpu, peak
}

func runMeasured(t testing.TB, cmd *exec.Cmd) (cpu time.Duration, peak int64) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return 0, 0
	}
	done, held := make(chan struct{}), make(chan int64, 1)
	go func() { held <- peakMemory(cmd.Process.Pid, done) }()
	err := cmd.Wait()
	close(done)
	if err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, &said)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), <-held
}

// peakOf is what a process held at most so far.
func peakOf(pid int) int64 {
	done := make(chan struct{})
	close(done)
	return peakMemory(pid, done)
}

func (p *process) proc(file string) string {
	return filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), file)
}

// ticksPerSecond is USER_HZ, the same on all that Go runs on.
const ticksPerSecond = 100

// cpu is what a daemon, and what it has waited for, used so far: user, system, and both of its children
// (proc_pid_stat(5), fields 14 to 17).
func (p *process) cpu(t testing.TB) time.Duration {
	t.Helper()
	text := readText(t, p.proc("stat"))
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:]) // from the third on
	var ticks time.Duration
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		must(t, err)
		ticks += time.Duration(n)
	}
	return ticks * time.Second / ticksPerSecond
}
