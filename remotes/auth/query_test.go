package auth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestSignedRedirects: the query of a URL that a registry redirects to is sent there, once for each redirect, and is in no
// error, whatever fails afterwards.
func TestSignedRedirects(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		last http.HandlerFunc
		want string // of the error
	}{
		"all is well":       {ok, ""},
		"broken off":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"a refused address": {redirectTo("http://169.254.169.254/?signature=" + secret), "refused to connect"},
		"a refused scheme":  {redirectTo("ftp://evil.test/?signature=" + secret), "refused to follow"},
		"no URL":            {redirectTo("http://[?signature=" + secret), "not a URL"},
	} {
		third := newRecorder(t, test.last)
		second := newRecorder(t, redirectTo(third.URL+"/c?signature="+secret+"3"))
		first := newRecorder(t, redirectTo(second.URL+"/b?signature="+secret+"2"))
		registry := newRegistry(t, first.URL, RegistryOptions{})
		err := get(t, registry, first.URL+"/a?ns=x")
		if test.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if test.want != "" {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: got %v", name, err)
			}
			for ; err != nil; err = errors.Unwrap(err) {
				noLeak(t, err)
			}
		}
		for at, got := range map[string][]*http.Request{"ns=x": first.got(), "signature=" + secret + "2": second.got(), "signature=" + secret + "3": third.got()} {
			if len(got) == 0 || got[0].URL.RawQuery != at {
				t.Errorf("%s: %s was not asked with its query", name, at)
			}
		}
	}
}
