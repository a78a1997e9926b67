package auth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/nestedoci/nested/internal/flight"
)

const (
	helperTimeout = 30 * time.Second
	// helperKeep is how long an answer is cached: some helpers return tokens
	// that live five minutes.
	helperKeep = 4*time.Minute + 30*time.Second
	// helperKeepNone is shorter, so that a login is seen soon.
	helperKeepNone = 30 * time.Second
	// helperOutput bounds the answer. Identity tokens are a few KiB.
	helperOutput = 64 << 10
	// helperServer bounds the server name that is passed to a helper.
	helperServer = 1024
)

// HelperError says that a credential helper did not answer. It contains nothing
// that the helper has written, which may be secret.
type HelperError struct {
	Helper string // the program's name
	Server string // what it was asked for
	Config string // the configuration that names it
	Reason string
}

func (e *HelperError) Error() string {
	return fmt.Sprintf("credential helper %s, asked for %.128q because of %s: %s", e.Helper, e.Server, e.Config, e.Reason)
}

// helpers runs credential helpers, at most one run at a time for each helper
// and server.
type helpers struct {
	timeout     time.Duration
	interactive bool
	metrics     *Metrics
	answers     flight.Group[helperKey, Credential]
}

type helperKey struct{ helper, server string }

// get returns a helper's credential for one server. "Not found" is an anonymous
// credential, whose Source says so.
func (h *helpers) get(ctx context.Context, config, helper, server string) (Credential, error) {
	program := "docker-credential-" + helper
	fail := func(reason string) error {
		return &HelperError{Helper: program, Server: server, Config: config, Reason: reason}
	}
	if !helperName.MatchString(helper) {
		return Credential{}, &HelperError{Helper: fmt.Sprintf("%.64q", helper), Server: server, Config: config, Reason: "not a helper's name"}
	}
	if !helperServerName.MatchString(server) || len(server) > helperServer {
		return Credential{}, fail("not a server's name")
	}
	credential, err := h.answers.Get(ctx, helperKey{helper, server}, h.timeout+time.Second,
		func(ctx context.Context) (Credential, time.Duration, error) {
			credential, reason := h.run(ctx, program, server)
			switch {
			case reason != "":
				return Credential{}, 0, fail(reason)
			case credential.Anonymous():
				return credential, helperKeepNone, nil
			default:
				return credential, helperKeep, nil
			}
		})
	if err == nil && credential.Anonymous() {
		credential.Source = fmt.Sprintf("%s (%s) has none for %q", program, config, server)
	}
	return credential, err
}

func (h *helpers) forget(credential Credential) {
	h.answers.Forget(func(_ helperKey, c Credential) bool { return c == credential })
}

var (
	helperName       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	helperServerName = regexp.MustCompile(`^[!-~]+$`)
)

// run runs the helper once. reason is empty when it answered.
func (h *helpers) run(ctx context.Context, program, server string) (_ Credential, reason string) {
	path, reason := FindHelper(program)
	if reason != "" {
		return Credential{}, reason
	}
	h.metrics.HelperRuns.Add(1)
	defer func(start time.Time) { h.metrics.HelperNanoseconds.Add(int64(time.Since(start))) }(time.Now())
	return getFromHelper(program, server, func(args []string, input io.Reader) ([]byte, string) {
		byHand := "echo SERVER | " + filepath.Base(path) + " get"
		return executable{path, args, nil, input, byHand}.execute(ctx, h.timeout, h.interactive)
	})
}

// getFromHelper performs the "get" of the helpers' protocol through run, which
// starts the program. reason is empty when the helper answered, and contains
// nothing that it wrote.
func getFromHelper(program, server string, run func(args []string, input io.Reader) (output []byte, reason string)) (_ Credential, reason string) {
	p := &helperProgram{run: run}
	answer, err := client.Get(func(args ...string) client.Program { p.args = args; return p }, server)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return Credential{}, ""
	case p.reason != "":
		return Credential{}, p.reason
	case err != nil:
		return Credential{}, "its answer is not a credential"
	case answer.Username == "" && answer.Secret == "":
		return Credential{}, "" // as docker has it
	case answer.Username == "" || answer.Secret == "":
		return Credential{}, "its answer lacks user name or secret"
	}
	// The server in the answer does not matter: it is the helper's own name for it.
	return UserCredential(answer.Username, answer.Secret, fmt.Sprintf("helper %s, server %q", program, server)), ""
}

// helperProgram is one run, as client.Get needs it.
type helperProgram struct {
	run    func(args []string, input io.Reader) (output []byte, reason string)
	args   []string
	input  io.Reader
	reason string // why there is no usable output; never the helper's own words
}

func (p *helperProgram) Input(in io.Reader) { p.input = in }

func (p *helperProgram) Output() ([]byte, error) {
	output, reason := p.run(p.args, p.input)
	if reason == "" && !json.Valid(output) {
		reason = "its answer is not JSON"
	}
	if p.reason = reason; reason != "" {
		return output, errors.New(reason)
	}
	return output, nil
}

// executable is a program that reads a request from its standard input.
type executable struct {
	path   string
	args   []string
	env    []string // in addition to our own
	input  io.Reader
	byHand string // how to see its output
}

// execute runs the program and returns what it wrote. Its standard error is
// discarded: helpers have been seen to print secrets.
func (p executable) execute(ctx context.Context, timeout time.Duration, interactive bool) (output []byte, reason string) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := &boundedBuffer{full: cancel}
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Stdin, cmd.Stdout, cmd.Env = p.input, out, append(HelperEnvironment(), p.env...)
	cmd.WaitDelay = time.Second
	isolate(cmd, interactive)
	err := runGroup(cmd)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // an agent of the helper still holds its output; the answer is there
	}
	var exit *exec.ExitError
	switch {
	case out.overflow:
		return nil, fmt.Sprintf("it wrote more than %d bytes", helperOutput)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, "it did not answer in time; run it by hand: " + p.byHand
	case ctx.Err() != nil:
		return nil, "cancelled"
	case err == nil:
		return out.taken.Bytes(), ""
	case !errors.As(err, &exit):
		return nil, "it cannot be started"
	case !exit.Exited():
		return nil, "it was killed"
	}
	// A helper that has no credential says so with a status that is not 0.
	return out.taken.Bytes(), fmt.Sprintf("it exited with status %d; run it by hand: %s", exit.ExitCode(), p.byHand)
}

// HelperEnvironment is our own without the one variable that holds secrets.
func HelperEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, inlineVariable+"=") })
}

// FindHelper finds a program in PATH and checks that nobody else could have
// put it there.
func FindHelper(program string) (path, reason string) {
	path, err := exec.LookPath(program)
	switch {
	case errors.Is(err, exec.ErrDot) || err == nil && !filepath.IsAbs(path):
		return "", "it was found through a relative directory in PATH; use absolute ones"
	case err != nil:
		return "", absence(program)
	}
	return path, distrustProgram(path)
}

// maxProgramLinks bounds the links to a program, as Linux does.
const maxProgramLinks = 40

// distrustProgram says why a program must not be run: others could write it, or
// replace it, a link on the way to it, or a directory on the way.
func distrustProgram(path string) (reason string) {
	for range maxProgramLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			break
		}
		for _, way := range []string{filepath.Dir(path), dir} {
			if reason := cmp.Or(distrust(way), distrustAbove(way)); reason != "" {
				return way + " " + reason
			}
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil { // the program
			if reason := distrust(path); reason != "" {
				return path + " " + reason
			}
			return ""
		}
		if path = target; !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
	}
	return path + " cannot be examined"
}

// absence says why a program is not in PATH.
func absence(program string) string {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && runtime.GOOS != "windows" { // there the name decides
			return path + " is not executable; chmod 755 it"
		}
	}
	return "it is not in PATH; install it or correct the configuration"
}

// boundedBuffer keeps helperOutput bytes and calls full for more. The buffer is
// not embedded: its ReadFrom would accept what Write refuses.
type boundedBuffer struct {
	taken    bytes.Buffer
	full     func()
	overflow bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.taken.Len()+len(p) > helperOutput {
		b.overflow = true
		b.full()
		return 0, io.ErrShortBuffer
	}
	return b.taken.Write(p)
}
