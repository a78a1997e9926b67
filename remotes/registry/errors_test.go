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
	for name, err := range map[string]error{
		"an answer":        fmt.Errorf("around it: %w", status),
		"a retried answer": fmt.Errorf("around it: %w", answer{ErrUnexpectedStatus: status}),
		"no answer":        fmt.Errorf("around it: %w", &url.Error{Op: "Get", URL: signed, Err: io.EOF}),
	} {
		explained := explain(t.Context(), nil, err)
		for e := explained; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(fmt.Sprintf("%v %+v", e, e), "canary") {
				t.Errorf("%s: %v shows the query", name, e)
			}
			if _, ok := e.(redacted); ok { //nolint:errorlint // this one, not what is in it
				break // what is around the client's error was put together before, and is for errors.Is
			}
		}
		if !strings.Contains(explained.Error(), "https://store.test/blob") {
			t.Errorf("%s: %v does not say where", name, explained)
		}
	}
}
