package registry

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
)

// TestQueriesAreHidden: where a redirect leads is signed in its query, which is in no error, of whatever kind.
func TestQueriesAreHidden(t *testing.T) {
	const signed = "https://store.test/blob?X-Signature=canary"
	status := remoteerrors.ErrUnexpectedStatus{Status: "500 Internal Server Error", StatusCode: 500, RequestURL: signed}
	for name, test := range map[string]struct {
		err   error
		where string
	}{
		"an answer":        {status, "store.test answered 500"}, // some sign in the path
		"a retried answer": {newStatusError(status), "store.test answered 500"},
		"no answer":        {&url.Error{Op: "Get", URL: signed, Err: io.EOF}, "https://store.test/blob"},
	} {
		explained := explain(t.Context(), nil, fmt.Errorf("around it: %w", test.err))
		for e := explained; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(fmt.Sprintf("%v %+v", e, e), "canary") {
				t.Errorf("%s: %v shows the query", name, e)
			}
			if _, ok := e.(redacted); ok { //nolint:errorlint // this one, not what is in it
				break // what is around the client's error was put together before, and is for errors.Is
			}
		}
		if !strings.Contains(explained.Error(), test.where) {
			t.Errorf("%s: %v does not say where", name, explained)
		}
	}
}
