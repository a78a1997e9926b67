package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// IsRefusedHead reports whether a HEAD failed in a way that a GET may not:
// neither because the content is absent nor by a retryable failure. Some
// registries do not support HEAD, and storage may have signed a URL for GET
// only.
func IsRefusedHead(err error) bool {
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
	answered, ok := errors.AsType[*StatusError](err)
	if !ok {
		var status remoteerrors.ErrUnexpectedStatus
		var client *url.Error
		switch {
		case errors.As(err, &client):
			return withoutQuery(err, client)
		case !errors.As(err, &status):
			return err
		}
		answered = newStatusError(status)
	}
	explained := answered.by(ctx, hosts)
	if retry.IsSpent(err) {
		return retry.Spent(explained)
	}
	return explained
}

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
