//go:build unix

package intercept

import (
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ofTerminal are the signals that a terminal sends to all processes in its foreground, so to the command, too.
var ofTerminal = []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH}

var passedOn = append([]os.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM}, ofTerminal...)

// signals are those that this process gets, for a command.
type signals struct{ come chan os.Signal }

// watchSignals begins to take signals, so that none ends this process. Those that are ignored (nohup) stay so, for the
// command as well.
func watchSignals() signals {
	s := signals{make(chan os.Signal, 16)} // more than come before one is passed on
	for _, sig := range passedOn {
		if !signal.Ignored(sig) {
			signal.Notify(s.come, sig)
		}
	}
	return s
}

func (s signals) close() { signal.Stop(s.come) }

// run runs a command in this process group and passes signals on.
func (s signals) run(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return started(cmd.Args[0], err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	for {
		select {
		case err := <-over:
			return ended(err)
		case sig := <-s.come:
			if !slices.Contains(ofTerminal, sig) || !inForeground() {
				_ = cmd.Process.Signal(sig) // it may just have ended
			}
		}
	}
}

// inForeground reports whether this process's terminal has it in the foreground.
func inForeground() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false // it has none
	}
	defer terminal.Close()
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
