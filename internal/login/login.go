// Package login writes credentials where package auth, and docker, read them: into
// Docker's configuration file, or into the credential helper that the file names.
//
// Read the files in this order:
//
//   - login.go: [Login] and [Logout];
//   - key.go: [Key], for which repositories a credential is;
//   - ask.go: [Ask] reads user name and password; verify.go: [Key.Verify] shows
//     them to the registry first;
//   - store.go: [Key.Store] and [Key.Erase], with helper.go for credential helpers;
//   - file.go: the configuration file, which is read and replaced under a lock
//     (disk_unix.go, disk_other.go); object.go: JSON whose order stays.
//
// No password is in an error, and none comes from the command line.
package login

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// Options say how a login is done.
type Options struct {
	Username          string
	PasswordFromInput bool   // all of In is the password; else a terminal is asked
	Verify            string // a repository of the key, or below it; "" for the key's own
	In                io.Reader
	Out, Notes        io.Writer // the result; questions and warnings
}

// Connect makes a client that has one source of credentials, for the registry of a
// repository. The function that it returns releases the client.
type Connect func(auth.Source, auth.Repository) (*registry.Client, func() error, error)

// Login reads a password, shows it to the registry, and writes it. Errors: those of
// [Parse], [Ask], [Key.Verify] and [Key.Store]. Unless all went well nothing is
// written.
func Login(ctx context.Context, key string, o Options, connect Connect) (err error) {
	k, at, err := Parse(key, o.Verify)
	if err != nil {
		return err
	}
	credential, err := Ask(o.In, o.Notes, o.Username, o.PasswordFromInput)
	if err != nil {
		return err
	}
	client, release, err := connect(k.Only(credential), at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err = k.Verify(ctx, client, at); err != nil {
		return err
	}
	where, warning, err := k.Store(ctx, credential)
	return tell(o.Out, o.Notes, fmt.Sprintf("logged in to %s, in %s", k, where), warning, err)
}

// Logout removes exactly one key. Having none is no error.
func Logout(ctx context.Context, key string, out, notes io.Writer) error {
	k, _, err := Parse(key, "")
	if err != nil {
		return err
	}
	had, warning, err := k.Erase(ctx)
	if had {
		return tell(out, notes, "logged out of "+k.String(), warning, err)
	}
	return tell(out, notes, "not logged in to "+k.String(), warning, err)
}

// tell says what was done, unless there is an error.
func tell(out, notes io.Writer, done, warning string, err error) error {
	if err == nil && warning != "" {
		_, err = fmt.Fprintln(notes, "warning: "+warning)
	}
	if err == nil {
		_, err = fmt.Fprintln(out, done)
	}
	return err
}
