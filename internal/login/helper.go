package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/nestedoci/nested/remotes/auth"
)

// helperTimeout leaves time to answer a question for a passphrase.
const helperTimeout = 2 * time.Minute

var helperName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// helper is a credential helper, docker-credential-NAME in PATH.
type helper string

func (h helper) String() string { return "docker-credential-" + string(h) }

// store gives a credential to the helper, under a server's name.
func (h helper) store(ctx context.Context, server string, c auth.Credential) error {
	if !utf8.ValidString(string(c.Password)) { // JSON would change it
		return fmt.Errorf("credential helper %s: cannot keep a password that is not UTF-8", h)
	}
	creds := credentials.Credentials{ServerURL: server, Username: c.Username, Secret: string(c.Password)}
	if c.IdentityToken != "" {
		creds.Username, creds.Secret = "<token>", string(c.IdentityToken)
	}
	return h.failed("store", server, client.Store(h.program(ctx), &creds))
}

// erase takes a credential out of the helper, and reports whether it had one.
func (h helper) erase(ctx context.Context, server string) (had bool, err error) {
	_, err = client.Get(h.program(ctx), server)
	if credentials.IsErrCredentialsNotFound(err) {
		return false, nil
	}
	return true, h.failed("erase", server, client.Erase(h.program(ctx), server))
}

// failed is the error of a helper, without what it said: that may be secret.
func (h helper) failed(action, server string, err error) error {
	if err == nil {
		return nil
	}
	if !helperName.MatchString(string(h)) {
		return fmt.Errorf("credential helper %.64q: not a helper's name", string(h))
	}
	if _, reason := auth.FindHelper(h.String()); reason != "" {
		return fmt.Errorf("credential helper %s: %s", h, reason)
	}
	return fmt.Errorf("credential helper %s, asked to %s %.128q: it failed; run it by hand to see why: %s %s", h, action, server, h, action)
}

// program starts the helper.
func (h helper) program(ctx context.Context) client.ProgramFunc {
	return func(args ...string) client.Program {
		return &program{ctx: ctx, helper: h, args: args}
	}
}

// program is one run of a helper.
type program struct {
	ctx    context.Context
	helper helper
	args   []string
	input  io.Reader
}

// Input implements [client.Program].
func (p *program) Input(in io.Reader) { p.input = in }

// Output implements [client.Program].
func (p *program) Output() ([]byte, error) {
	if !helperName.MatchString(string(p.helper)) {
		return nil, errors.New("not a helper's name")
	}
	path, reason := auth.FindHelper(p.helper.String())
	if reason != "" {
		return nil, errors.New(reason)
	}
	ctx, cancel := context.WithTimeout(p.ctx, helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, p.args...)
	var out output
	cmd.Stdin, cmd.Stdout, cmd.Env, cmd.WaitDelay = p.input, &out, auth.HelperEnvironment(), time.Second
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // an agent of the helper still holds its output
	}
	return out.taken.Bytes(), err
}

// maxOutput bounds what a helper writes: a credential, or that there is none.
const maxOutput = 64 << 10

// output is what a helper writes. The buffer is not embedded: its ReadFrom would accept
// what Write refuses.
type output struct{ taken bytes.Buffer }

func (o *output) Write(p []byte) (int, error) {
	if o.taken.Len()+len(p) > maxOutput {
		return 0, io.ErrShortWrite
	}
	return o.taken.Write(p)
}
