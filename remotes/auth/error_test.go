package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

// allTexts lists what an error and all that it wraps say.
func allTexts(err error) []string {
	if err == nil {
		return nil
	}
	texts := []string{err.Error()}
	switch e := err.(type) { //nolint:errorlint // the chain itself is looked at
	case interface{ Unwrap() error }:
		texts = append(texts, allTexts(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			texts = append(texts, allTexts(one)...)
		}
	}
	return texts
}

// TestErrorsQuoteNothing: what cannot be read of a file or answer that holds
// secrets is reported in the same words whatever is in it: no word, no number
// and no character of it is shown.
func TestErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	repo := Repository{"reg", "a"}
	malformed := []string{"~", "%", secret, `{"` + secret + `}`, `{"a":` + secret + `}`, `{"a":"` + secret + "\n\"}", `{"a":"\` + secret + `"}`, `{"a":31415` + "\x00}", `["` + secret + `"`, `{"` + secret + `":}`}
	entry := func(read func(*config) error) func(string) error {
		return func(text string) error {
			return read(&config{name: "FILE", Auths: map[string]json.RawMessage{"reg": json.RawMessage(text)}, CredHelpers: map[string]json.RawMessage{"reg": json.RawMessage(text)}})
		}
	}
	helper := func(text string) error {
		_, reason := getFromHelper("docker-credential-x", "reg", func([]string, io.Reader) ([]byte, string) { return []byte(text), "" })
		return errors.New(reason)
	}
	for name, test := range map[string]struct {
		read  func(text string) error
		texts []string
	}{
		"Docker configuration": {func(text string) error { _, err := parseConfig("FILE", []byte(text)); return err },
			append([]string{`{"auths":31415}`, `{"auths":["` + secret + `"]}`, `{"credsStore":31415e999}`, `["` + secret + `"]`, `{} ` + secret}, malformed...)},
		"its auths": {entry(func(c *config) error { _, err := c.credential("reg"); return err }),
			[]string{"31415", `"` + secret + `"`, `["` + secret + `"]`, `{"auth":31415}`, `{"auth":"` + secret + `!"}`, `{"auth":"SFVOVEVSMg=="}`, `{"username":["` + secret + `"]}`}},
		"its credHelpers": {entry(func(c *config) error { _, err := c.helperEntry("reg"); return err }),
			[]string{"31415", `["` + secret + `"]`, `{"` + secret + `":1}`}},
		"a helper that answers no JSON": {helper, malformed},
		"a helper that answers JSON":    {helper, []string{"31415", `"` + secret + `"`, `{"Username":31415}`, `{"Username":"u","Secret":["` + secret + `"]}`}},
		"kubelet's file": {
			func(text string) error {
				_, err := NewKubeletProviders(KubeletOptions{Config: writeFile(t, filepath.Join(t.TempDir(), "FILE"), text)}).read()
				return errors.New(regexp.MustCompile(`\S*FILE`).ReplaceAllString(strings.Join(allTexts(err), "\n"), "FILE"))
			},
			append([]string{"kind: " + secret, "kind: CredentialProviderConfig\nproviders: " + secret, "kind: CredentialProviderConfig\nproviders: [" + secret + "]",
				"kind: CredentialProviderConfig\nproviders: [{env: [{name: a, value: [" + secret + "]}]}]", "kind: *" + secret, "kind: CredentialProviderConfig\n\t" + secret}, malformed...)},
		"kubelet's plugin": {func(text string) error {
			_, _, reason := kubeletProvider{}.read([]byte(text), repo)
			return errors.New(reason)
		},
			append([]string{`{"kind":"` + secret + `"}`, `{"kind":31415}`, `{"auth":{"reg":{"password":31415}}}`}, malformed...)},
		"how long its answer is kept": {func(text string) error {
			_, _, reason := kubeletProvider{}.read([]byte(text), repo)
			return errors.New(reason)
		},
			[]string{`{"kind":"CredentialProviderResponse","cacheDuration":"` + secret + `"}`, `{"kind":"CredentialProviderResponse","cacheDuration":"-31415h"}`}},
		"token endpoint": {func(text string) error { _, _, err := readToken(strings.NewReader(text)); return err },
			append([]string{"31415", `{"token":31415}`, `{"access_token":["` + secret + `"]}`, `{} ` + secret}, malformed...)},
		"token endpoint, with a token that is none": {func(text string) error { _, _, err := readToken(strings.NewReader(text)); return err },
			[]string{`{"token":"` + secret + ` x"}`, `{"token":"31415\u0000"}`, `{"access_token":"é"}`}},
		"token endpoint, without a token": {func(text string) error { _, _, err := readToken(strings.NewReader(text)); return err },
			[]string{`{"refresh_token":"` + secret + `"}`, `{"errors":[{"message":"` + secret + `"}]}`, "{}"}},
	} {
		first := allTexts(test.read(test.texts[0]))
		if len(first) == 0 || first[0] == "" {
			t.Errorf("%s: %q is no mistake", name, test.texts[0])
		}
		for _, text := range test.texts[1:] {
			if got := allTexts(test.read(text)); !slices.Equal(got, first) {
				t.Errorf("%s: of %q it says\n%q\nand of %q\n%q", name, test.texts[0], first, text, got)
			}
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
