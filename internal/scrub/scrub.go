// Package scrub removes from what hosts answer what they were sent.
//
// What a host answers may end up in an error, and so in a log, and hosts repeat
// what they were sent: a debugging proxy in its message, a server that has lost
// its place on a connection in the reason of its status. A secret that went to
// one host must not come back that way.
package scrub

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	// minSecret is how long a secret has to be in order to be removed from text: of
	// shorter ones hardly any text would be left, which would show them, too.
	minSecret = 4
	// maxScrubbed bounds the body of an answer that is not a success, in bytes: what
	// containerd reads of it, and more than anybody shows.
	maxScrubbed = 64 << 10
	// scrubbed stands for what was removed.
	scrubbed = "…"
)

// Status is a status with the standard's words for it, as "404 Not Found". The
// host's own say nothing that a program could use.
func Status(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

// Connect is an [http.Transport]'s OnProxyConnectResponse. It refuses an answer
// that is not a success in other words than the proxy's, which may repeat the
// credential for it.
func Connect(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("proxy %s answered %s", proxy.Host, Status(answer.StatusCode))
}

// secretsIn are what a request carries for its host alone: what is behind the
// scheme of its authorization, also decoded, and the headers of the configuration.
func secretsIn(req *http.Request, configured http.Header) []string {
	var secrets []string
	add := func(s string) {
		if len(s) >= minSecret {
			secrets = append(secrets, s)
		}
	}
	if _, parameter, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		if pair, err := base64.StdEncoding.DecodeString(parameter); err == nil {
			_, password, _ := strings.Cut(string(pair), ":")
			add(password)
		}
		add(parameter)
	}
	for name := range configured {
		for _, value := range req.Header.Values(name) {
			add(value)
		}
	}
	return secrets
}

// scrubbedBody is the body of an answer that is not a success, without secrets.
type scrubbedBody struct {
	io.ReadCloser
	secrets []string
	text    io.Reader // once it was read
}

func (b *scrubbedBody) Read(p []byte) (int, error) {
	if b.text == nil {
		text, err := io.ReadAll(io.LimitReader(b.ReadCloser, maxScrubbed))
		if err != nil {
			return 0, err
		}
		for _, secret := range b.secrets {
			text = bytes.ReplaceAll(text, []byte(secret), []byte(scrubbed))
		}
		b.text = bytes.NewReader(text)
	}
	return b.text.Read(p)
}

// quoted is a string in quotation marks.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// Error removes from an error about an answer that is no HTTP what was there
// instead: up to as much as headers may have. It wraps the same errors.
func Error(err error) error {
	if text := err.Error(); strings.Contains(text, "malformed ") || strings.Contains(text, "transport connection broken") {
		return scrubbedError{err, quoted.ReplaceAllLiteralString(text, `"`+scrubbed+`"`)}
	}
	return err
}

// scrubbedError is an error with another text.
type scrubbedError struct {
	error
	text string
}

func (e scrubbedError) Error() string { return e.text }

func (e scrubbedError) Unwrap() error { return e.error }

// Response removes from an answer what must not be shown, before it is read:
// the host's words for its status, and from the first 64 KiB of the body of an
// answer that is not a success, which is all that is left of it, the request's
// secrets. configured are headers that count as secrets, where it has them.
func Response(req *http.Request, configured http.Header, resp *http.Response) {
	resp.Status = Status(resp.StatusCode)
	if resp.StatusCode < http.StatusBadRequest {
		return
	}
	if secrets := secretsIn(req, configured); len(secrets) > 0 {
		resp.Body = &scrubbedBody{ReadCloser: resp.Body, secrets: secrets}
	}
}
