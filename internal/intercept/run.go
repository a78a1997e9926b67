package intercept

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Command is a program with its arguments and what it reads and writes. Files are its own; it may be a terminal.
type Command struct {
	Arguments      []string // the first is the program
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exit statuses, as shells have them.
const (
	notExecutable = 126
	notThere      = 127
	signalled     = 128 // and the number of the signal
)

// ExitError is a command that ended with another status than 0, or that could not be started.
type ExitError struct {
	Status int
	Err    error // why it could not be started; nil when it ran
}

func (e *ExitError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return fmt.Sprintf("the command ended with status %d", e.Status)
}

func (e *ExitError) Unwrap() error { return e.Err }

// Run runs a command, and returns when it has ended: with nil, an [*ExitError], or what kept it from being run. It gets
// the signals that this process gets. Nothing of what was made for it is left.
func Run(c Command, o Options) (err error) {
	program, err := find(c.Arguments[0])
	if err == nil {
		err = canIntercept(runtime.GOOS, program)
	}
	if err != nil {
		return err
	}
	signals := watchSignals()
	defer signals.close()
	p, err := start(o)
	if err != nil {
		return err
	}
	defer p.report()
	defer p.close()
	directory, err := os.MkdirTemp("", "nestctl-exec-") // 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	environment, err := p.environment(directory)
	if err != nil {
		return err
	}
	return signals.run(&exec.Cmd{
		Path: program, Args: c.Arguments, Env: environment, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
	})
}

// report says what went wrong.
func (p *proxy) report() {
	if line := p.journal.summary(); line != "" && p.Report != nil {
		p.Report(line)
	}
}

// find finds a program as shells do.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, exec.ErrNotFound) && !isInPath(name), errors.Is(err, fs.ErrNotExist):
		return "", &ExitError{notThere, fmt.Errorf("%s: command not found", name)}
	}
	return "", &ExitError{notExecutable, fmt.Errorf("%s: cannot be executed; check that it is a program, with the right to execute it", name)}
}

// isInPath reports whether there is a file of that name, which is then no program.
func isInPath(name string) bool {
	for _, directory := range filepath.SplitList(os.Getenv("PATH")) {
		if info, err := os.Stat(filepath.Join(directory, name)); err == nil && !info.IsDir() && !strings.ContainsRune(name, filepath.Separator) {
			return true
		}
	}
	return false
}

// started makes an error of why a program that was found could not be started.
func started(name string, err error) error {
	if err == nil {
		return nil
	}
	status := notExecutable
	if errors.Is(err, fs.ErrNotExist) { // its interpreter
		status = notThere
	}
	return &ExitError{status, fmt.Errorf("%s: %w", name, err)}
}

// ended makes an error of how a command ended.
func ended(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &ExitError{Status: signalled + int(status.Signal())}
	}
	return &ExitError{Status: exit.ExitCode()}
}
