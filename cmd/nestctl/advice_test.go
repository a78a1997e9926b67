package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
)

// TestAdvice: an error of the network ends in the next step, and one that says it itself is left as it is.
func TestAdvice(t *testing.T) {
	for want, err := range map[string]error{
		"tls: a; the registry answers without TLS; use --plain-http, or set server = \"http://...\" in its hosts.toml":                                             tls.RecordHeaderError{Msg: "a"},
		"b: http: server gave HTTP response to HTTPS client; the registry answers without TLS; use --plain-http, or set server = \"http://...\" in its hosts.toml": fmt.Errorf("b: %w", http.ErrSchemeMismatch),
		"c: its certificate is signed by an unknown authority; name the CA of its certificate as ca in the registry's hosts.toml": fmt.Errorf("c: %w",
			&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"d: no such host; check the registry's name and this machine's DNS":                   fmt.Errorf("d: %w", &net.DNSError{Err: "no such host", Name: "reg.test"}),
		"e: not found; push it there":                                                         errors.New("e: not found; push it there"),
		"f:v1: not found; check the name, and the tag or digest":                              fmt.Errorf("f:v1: %w", errdefs.ErrNotFound),
		"child g: only h has it; push it to g: not found":                                     fmt.Errorf("child g: only h has it; push it to g: %w", errdefs.ErrNotFound),
		"a.tar: blobs/sha256/0: not found; the layout or archive is incomplete; make it anew": fmt.Errorf("a.tar: blobs/sha256/0: %w", errdefs.ErrNotFound),
	} {
		if got := advise(newRoot(), err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestRemedies: what a library calls avoidable is answered with the flag that avoids it, by commands that have it, and
// there is an answer to each.
func TestRemedies(t *testing.T) {
	root := newRoot()
	command := func(args ...string) *cobra.Command {
		c, _, err := root.Find(args)
		clienttest.NoError(t, err)
		return c
	}
	absent := &usage.Avoidable{Err: errors.New("a: not found"), By: bundle.BySparse}
	both := &usage.Avoidable{Err: fmt.Errorf("b: %w", &usage.Avoidable{Err: errors.New("c"), By: bundle.ByFromParents}), By: bundle.BySparse}
	misused := usage.Optionf("mode", " %q: must be node", "all")
	for _, test := range []struct {
		cmd  *cobra.Command
		err  error
		want string
	}{
		{command("copy"), absent, "a: not found; --sparse leaves out what SRC does not have"},
		{command("pull"), absent, "a: not found"},
		{command("copy"), both, "b: c; or copy it for the member's readers with --from-parents; --sparse leaves out what SRC does not have"},
		{command("index", "add"), &usage.Avoidable{Err: errors.New("d"), By: bundle.ByNewIndex}, "d; make one with nestctl index create"},
		{command("install"), misused, "--mode \"all\": must be node; see nestctl install --help"},
	} {
		if got := advise(test.cmd, test.err); got != test.want {
			t.Errorf("%s: got %s, want %s", test.cmd.Name(), got, test.want)
		}
	}
	for _, by := range choicesInSources(t) {
		if remedies[by].step == "" {
			t.Errorf("%s: what users do about it is not said", by)
		}
	}
}

// choicesInSources are all that the libraries declare.
func choicesInSources(t *testing.T) []usage.Choice {
	t.Helper()
	var found []usage.Choice
	for _, pattern := range []string{"../../remotes/*/*.go", "../../remotes/*/*/*.go", "../../internal/*/*.go"} {
		files, err := filepath.Glob(pattern)
		clienttest.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			clienttest.NoError(t, err)
			for _, m := range regexp.MustCompile(`usage\.Choice += "([^"]+)"`).FindAllSubmatch(text, -1) {
				found = append(found, usage.Choice(m[1]))
			}
		}
	}
	if len(found) < 13 {
		t.Errorf("found only %q", found)
	}
	return found
}

// TestNobodyListens is about an error as it comes from a command.
func TestNobodyListens(t *testing.T) {
	ownCredentials(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	clienttest.NoError(t, err)
	clienttest.NoError(t, closed.Close())
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"tree", "--hosts-dir=", "--plain-http", closed.Addr().String() + "/org/app:v1"}, &stdout, &stderr)
	if said := strings.TrimSpace(stderr.String()); status != failure || said[:strings.LastIndex(said, ": ")+2] != "nestctl: "+closed.Addr().String()+": " || !strings.HasSuffix(said, "connection refused; check the registry's address, and that it is running") {
		t.Errorf("exit status %d: %s", status, said)
	}
}
