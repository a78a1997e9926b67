package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// isRefusedHead reports whether a HEAD failed in a way that a GET may not:
// neither because the content is absent nor by a retryable failure. Some
// registries do not support HEAD, and storage may have signed a URL for GET
// only.
func isRefusedHead(err error) bool {
	var denied *auth.DeniedError
	var status remoteerrors.ErrUnexpectedStatus
	switch {
	case errors.As(err, &denied):
		return !denied.NoToken
	case errdefs.IsNotImplemented(err), errdefs.IsUnauthorized(err):
		return true // 405, and 401 without a challenge
	case !errors.As(err, &status):
		return false
	}
	return status.StatusCode != http.StatusNotFound && !retry.RetryableStatus(status.StatusCode)
}

// explain adds to a 401 or 403 which credential was used, unwraps the errors of
// package auth, and removes queries of URLs from errors: redirects lead to URLs
// whose queries contain signatures.
func explain(ctx context.Context, hosts []Host, err error) error {
	var denied *auth.DeniedError
	var lookup *auth.LookupError
	var realm *auth.RealmError
	var page *AnswerError
	switch {
	case errors.As(err, &page):
		return page
	case errors.As(err, &denied):
		return denied
	case errors.As(err, &lookup):
		return lookup
	case errors.As(err, &realm):
		return realm
	}
	var last answer
	if errors.As(err, &last) {
		last.RequestURL, _, _ = strings.Cut(last.RequestURL, "?")
		if retry.IsSpent(err) {
			return retry.Spent(last)
		}
		return last
	}
	var client *url.Error
	if errors.As(err, &client) {
		return withoutQuery(err, client)
	}
	var status remoteerrors.ErrUnexpectedStatus
	if !errors.As(err, &status) {
		return err
	}
	asked, parseErr := url.Parse(status.RequestURL)
	own := parseErr != nil
	for _, host := range hosts {
		if parseErr != nil || !host.Authorizer.Owns(asked) {
			continue
		}
		own = true
		if status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden {
			answer := fmt.Sprintf("the registry answered %d %s", status.StatusCode, http.StatusText(status.StatusCode))
			return host.Authorizer.Denied(ctx, answer)
		}
	}
	status.RequestURL, _, _ = strings.Cut(status.RequestURL, "?")
	return answer{ErrUnexpectedStatus: status, elsewhere: !own}
}

// answer is an answer of a registry that is not a success.
type answer struct {
	remoteerrors.ErrUnexpectedStatus
	wait      time.Duration // from Retry-After; 0: none
	elsewhere bool          // it came from a host to which the registry redirects
}

// Answer implements [retry.Answered].
func (a answer) Answer() (int, time.Duration) { return a.StatusCode, a.wait }

// Error implements error. The registry's words are escaped and cut.
func (a answer) Error() string {
	text := a.ErrUnexpectedStatus.Error()
	if a.wait > 0 {
		text += fmt.Sprintf(", asking to wait for %s", a.wait.Round(time.Second))
	}
	if words := ComplaintIn(a.Body).String(); words != "" {
		const shown = 256
		quoted := strconv.QuoteToASCII(words[:min(len(words), shown)])
		text += ": " + quoted[1:len(quoted)-1]
	}
	return text + a.next()
}

// next is the next step for the user.
func (a answer) next() string {
	switch {
	case a.elsewhere && a.StatusCode/100 == 4:
		return "; the registry redirects there, so that another login changes nothing: try again, or ask who runs the registry"
	case a.elsewhere:
		return "; the registry redirects there: try again, or ask who runs the registry"
	case retry.RetryableStatus(a.StatusCode):
		return "; try again later"
	}
	return ""
}

func (a answer) Unwrap() error { return a.ErrUnexpectedStatus }

// withoutQuery removes the query of a client error's URL from the text of an
// error that wraps it.
func withoutQuery(err error, client *url.Error) error {
	text, original := err.Error(), client.URL
	client.URL, _, _ = strings.Cut(original, "?")
	return redacted{err, strings.ReplaceAll(text, original, client.URL)}
}

// calledGet replaces Head by Get in the text of an error, because the request
// was made as a GET.
func calledGet(err error) error {
	client, ok := errors.AsType[*url.Error](err)
	if !ok || client.Op != "Head" {
		return err
	}
	client.Op = "Get"
	return redacted{err, strings.ReplaceAll(err.Error(), fmt.Sprintf("Head %q", client.URL), fmt.Sprintf("Get %q", client.URL))}
}

// redacted is an error with another text.
type redacted struct {
	error
	text string
}

func (e redacted) Error() string { return e.text }

func (e redacted) Unwrap() error { return e.error }

// newAnswer turns an answer into an error, and closes its body.
func newAnswer(resp *http.Response) error {
	defer resp.Body.Close()
	var status remoteerrors.ErrUnexpectedStatus
	if err := remoteerrors.NewUnexpectedStatusErr(resp); !errors.As(err, &status) {
		return err
	}
	return answer{ErrUnexpectedStatus: status, wait: retry.After(resp)}
}
