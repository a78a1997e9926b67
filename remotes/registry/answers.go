package registry

import (
	"errors"
	"net/http"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
)

// isRefusedHead reports whether a HEAD was answered, and not by the absence of
// what it was for or by a failure that may pass: a GET may well be answered
// otherwise, by registries that know no HEAD, and by storage whose URLs are
// signed for GET.
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
	return status.StatusCode != http.StatusNotFound && !auth.MayPass(status.StatusCode)
}
