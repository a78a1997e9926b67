package auth

import (
	"context"
	"errors"
	"testing"

	"github.com/containerd/errdefs"
)

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	r := Repository{"reg.test", "a/b"}
	for _, test := range []struct {
		err   error
		want  string
		class error
	}{
		{
			&DeniedError{Repository: r, Credential: `FILE, key "reg.test"`, Scope: "repository:a/b:pull", Answer: "the registry answered 401"},
			`reg.test/a/b denied: the registry answered 401 (credential FILE, key "reg.test", scope repository:a/b:pull); ask for the right to pull from it`,
			errdefs.ErrPermissionDenied,
		},
		{
			&DeniedError{Repository: r, Credential: "none", Answer: "no", Anonymous: true},
			`reg.test/a/b denied: no (credential none); log in: docker login reg.test`,
			errdefs.ErrUnauthenticated,
		},
		{
			&DeniedError{Repository: r, Credential: "x", Answer: "no", Refused: true},
			`reg.test/a/b denied: no (credential x); renew that credential`,
			errdefs.ErrUnauthenticated,
		},
		{
			&RealmError{Registry: "reg.test", Realm: "http://x\x1b/", Reason: "it is not https"},
			`registry reg.test names the token endpoint "http://x\x1b/": it is not https; no credential was sent`,
			errdefs.ErrFailedPrecondition,
		},
		{
			&HelperError{Helper: "docker-credential-x", Server: "reg\n", Config: "FILE", Reason: "cancelled"},
			`credential helper docker-credential-x, asked for "reg\n" because of FILE: cancelled`,
			nil,
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		if test.class != nil && !errors.Is(test.err, test.class) {
			t.Errorf("%v is not %v", test.err, test.class)
		}
	}
}

// sourceOf always gives the same answer, and counts.
type sourceOf struct {
	credential Credential
	err        error
	asked      int
}

func (s *sourceOf) Lookup(context.Context, Repository) (Credential, error) {
	s.asked++
	return s.credential, s.err
}

func TestSources(t *testing.T) {
	t.Parallel()
	none, found, failing := Credential{Source: "none"}, withPassword, errAsk
	for _, test := range []struct {
		sources []*sourceOf
		want    Credential
		err     error
		asked   int
	}{
		{nil, Credential{Source: "none: no credential store"}, nil, 0},
		{[]*sourceOf{{credential: none}, {credential: found}, {err: failing}}, found, nil, 2},
		{[]*sourceOf{{credential: none}, {err: failing}, {credential: found}}, Credential{}, failing, 2},
		{[]*sourceOf{{credential: none}, {credential: Credential{Source: "none either"}}}, Credential{Source: "none either"}, nil, 2},
	} {
		var sources Sources
		for _, s := range test.sources {
			sources = append(sources, s)
		}
		got, err := sources.Lookup(ctx(), Repository{"reg", "a"})
		asked := 0
		for _, s := range test.sources {
			asked += s.asked
		}
		if got != test.want || !errors.Is(err, test.err) || asked != test.asked {
			t.Errorf("got %v %v after %d questions, want %v %v after %d", got, err, asked, test.want, test.err, test.asked)
		}
	}
}
