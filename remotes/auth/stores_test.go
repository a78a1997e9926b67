package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

var (
	ctx = context.Background

	u1, u2, u3 = entry("u1"), entry("u2"), entry("u3")
	identity   = `{"auth":"` + base64.StdEncoding.EncodeToString([]byte("u:")) + `","identitytoken":"` + secret + `"}`
	registryTk = `{"registrytoken":"` + secret + `"}`
)

// TestLookup is the table of where a credential comes from. The columns are
// the inline configuration, up to two files, the repository, and what is
// found: kind and user of the credential, and its source.
func TestLookup(t *testing.T) {
	t.Parallel()
	none := func(files string) string { return "none, none: no key for it in " + files }
	for _, test := range []struct{ name, inline, file, second, repository, want string }{
		// Nothing to be found.
		{name: "no file at all", repository: "reg/a", want: "none, none: no file 1.json, no file 2.json"},
		{name: "empty file", file: `{}`, repository: "reg/a", want: none("1.json")},
		{name: "null", file: `{"auths":null,"credHelpers":null,"credsStore":""}`, repository: "reg/a", want: none("1.json")},
		{name: "only others", file: `{"auths":{"other":` + u1 + `},"credHelpers":{"third":"is-broken"}}`, repository: "reg/a", want: none("1.json")},

		// Which key: the most specific, only at a slash, the port counts.
		{name: "host", file: `{"auths":{"reg":` + u1 + `}}`, repository: "reg/a/b", want: `password u1, 1.json, key "reg"`},
		{name: "full name", file: `{"auths":{"reg":` + u1 + `,"reg/a":` + u2 + `,"reg/a/b":` + u3 + `}}`, repository: "reg/a/b", want: `password u3, 1.json, key "reg/a/b"`},
		{name: "parent", file: `{"auths":{"reg":` + u1 + `,"reg/a":` + u2 + `,"reg/a/b":` + u3 + `}}`, repository: "reg/a/c", want: `password u2, 1.json, key "reg/a"`},
		{name: "child's key is not the parent's", file: `{"auths":{"reg":` + u1 + `,"reg/a/b":` + u3 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},
		{name: "no slash, no match", file: `{"auths":{"reg/a":` + u1 + `}}`, repository: "reg/ab", want: none("1.json")},
		{name: "only siblings", file: `{"auths":{"reg/team-a":` + u1 + `,"reg/team-b":` + u2 + `}}`, repository: "reg/team-c", want: none("1.json")},
		{name: "port wanted", file: `{"auths":{"reg":` + u1 + `}}`, repository: "reg:5000/a", want: none("1.json")},
		{name: "port unwanted", file: `{"auths":{"reg:5000":` + u1 + `}}`, repository: "reg/a", want: none("1.json")},
		{name: "port", file: `{"auths":{"reg:5000":` + u1 + `,"reg":` + u2 + `}}`, repository: "reg:5000/a", want: `password u1, 1.json, key "reg:5000"`},
		{name: "port 443 is a port", file: `{"auths":{"reg":` + u1 + `}}`, repository: "reg:443/a", want: none("1.json")},
		{name: "IPv6", file: `{"auths":{"[::1]:5000":` + u1 + `}}`, repository: "[::1]:5000/a", want: `password u1, 1.json, key "[::1]:5000"`},
		{name: "another host with the same end", file: `{"auths":{"evil-reg":` + u1 + `}}`, repository: "reg/a", want: none("1.json")},

		// How keys are spelled.
		{name: "https", file: `{"auths":{"https://reg":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "https://reg"`},
		{name: "https /", file: `{"auths":{"https://reg/":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "https://reg/"`},
		{name: "https /v1/", file: `{"auths":{"https://reg/v1/":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "https://reg/v1/"`},
		{name: "https /v2/", file: `{"auths":{"https://reg/v2/":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "https://reg/v2/"`},
		{name: "v2 without a scheme", file: `{"auths":{"reg/v2":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg/v2"`},
		{name: "v2/ without a scheme", file: `{"auths":{"reg:5000/v2/":` + u1 + `}}`, repository: "reg:5000/a", want: `password u1, 1.json, key "reg:5000/v2/"`},
		{name: "v1/ without a scheme", file: `{"auths":{"reg/v1/":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg/v1/"`},
		{name: "https /v2", file: `{"auths":{"https://reg/v2":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "https://reg/v2"`},
		{name: "v2 of a helper", file: `{"credHelpers":{"reg/v2/":"answers"}}`, repository: "reg/a", want: `password user, helper docker-credential-answers, server "reg/v2/"`},
		{name: "v2 after the registry's own key", file: `{"auths":{"reg/v2":` + u1 + `,"http://reg":` + u2 + `}}`, repository: "reg/a", want: `password u2, 1.json, key "http://reg"`},
		{name: "v2 is a repository, too", file: `{"auths":{"reg/v2":` + u1 + `,"reg":` + u2 + `}}`, repository: "reg/v2/a", want: `password u1, 1.json, key "reg/v2"`},
		{name: "v2/a is a repository", file: `{"auths":{"reg/v2/a":` + u1 + `}}`, repository: "reg/a", want: none("1.json")},

		// Patterns, as the kubelet has them in its file.
		{name: "pattern", file: `{"auths":{"*.test:5000":` + u1 + `}}`, repository: "reg.test:5000/a", want: `password u1, 1.json, key "*.test:5000"`},
		{name: "pattern of a part", file: `{"auths":{"https://r*.te?t/v2/":` + u1 + `}}`, repository: "reg.test/a", want: `password u1, 1.json, key "https://r*.te?t/v2/"`},
		{name: "pattern and path", file: `{"auths":{"*.test/team":` + u1 + `}}`, repository: "reg.test/team/a", want: `password u1, 1.json, key "*.test/team"`},
		{name: "pattern and another path", file: `{"auths":{"*.test/team":` + u1 + `}}`, repository: "reg.test/teams/a", want: none("1.json")},
		{name: "pattern, API and path", file: `{"auths":{"https://*.test/v2/team":` + u1 + `}}`, repository: "reg.test/team/a", want: `password u1, 1.json, key "https://*.test/v2/team"`},
		{name: "pattern without the port", file: `{"auths":{"*.test":` + u1 + `}}`, repository: "reg.test:5000/a", want: none("1.json")},
		{name: "pattern with another port", file: `{"auths":{"*.test:5000":` + u1 + `}}`, repository: "reg.test/a", want: none("1.json")},
		{name: "pattern of fewer parts", file: `{"auths":{"*.test":` + u1 + `,"*":` + u1 + `}}`, repository: "a.reg.test/a", want: none("1.json")},
		{name: "pattern that is none", file: `{"auths":{"[.test":` + u1 + `}}`, repository: "reg.test/a", want: none("1.json")},
		{name: "host before pattern", file: `{"auths":{"*.test/team":` + u1 + `,"reg.test":` + u2 + `}}`, repository: "reg.test/team/a", want: `password u2, 1.json, key "reg.test"`},
		{name: "the pattern that says more", file: `{"auths":{"*.test":` + u1 + `,"r*.test":` + u2 + `,"*.test/team":` + u3 + `}}`, repository: "reg.test/team/a", want: `password u2, 1.json, key "r*.test"`},
		{name: "the pattern with the path", file: `{"auths":{"*.test":` + u1 + `,"https://*.test/team":` + u3 + `}}`, repository: "reg.test/team/a", want: `password u3, 1.json, key "https://*.test/team"`},
		{name: "pattern without a secret", file: `{"auths":{"*.test":{}}}`, second: `{"auths":{"reg.test":` + u2 + `}}`, repository: "reg.test/a", want: `password u2, 2.json, key "reg.test"`},
		{name: "https with path", file: `{"auths":{"https://reg/a/":` + u1 + `}}`, repository: "reg/a/b", want: `password u1, 1.json, key "https://reg/a/"`},
		{name: "exact before https", file: `{"auths":{"https://reg":` + u1 + `,"reg":` + u2 + `}}`, repository: "reg/a", want: `password u2, 1.json, key "reg"`},
		{name: "https before http", file: `{"auths":{"http://reg":` + u1 + `,"https://reg":` + u2 + `}}`, repository: "reg/a", want: `password u2, 1.json, key "https://reg"`},
		{name: "http", file: `{"auths":{"http://reg":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "http://reg"`},

		// Docker Hub, under all its names.
		{name: "hub", file: `{"auths":{"https://index.docker.io/v1/":` + u1 + `}}`, repository: "docker.io/library/a", want: `password u1, 1.json, key "https://index.docker.io/v1/"`},
		{name: "hub's API", file: `{"auths":{"https://index.docker.io/v1/":` + u1 + `}}`, repository: "registry-1.docker.io/library/a", want: `password u1, 1.json, key "https://index.docker.io/v1/"`},
		{name: "hub's index", file: `{"auths":{"docker.io":` + u1 + `}}`, repository: "index.docker.io/library/a", want: `password u1, 1.json, key "docker.io"`},
		{name: "docker's own key before others", file: `{"auths":{"docker.io":` + u1 + `,"https://index.docker.io/v1/":` + u2 + `}}`, repository: "docker.io/library/a", want: `password u2, 1.json, key "https://index.docker.io/v1/"`},
		{name: "hub repository", file: `{"auths":{"docker.io/team":` + u1 + `,"https://index.docker.io/v1/":` + u2 + `}}`, repository: "docker.io/team/a", want: `password u1, 1.json, key "docker.io/team"`},
		{name: "hub helper", file: `{"credHelpers":{"docker.io":"answers"}}`, repository: "docker.io/library/a", want: `password user, helper docker-credential-answers, server "https://index.docker.io/v1/"`},
		{name: "hub store", file: `{"credsStore":"answers"}`, repository: "registry-1.docker.io/library/a", want: `password user, helper docker-credential-answers, server "https://index.docker.io/v1/"`},
		{name: "hub mirror is not hub", file: `{"auths":{"https://index.docker.io/v1/":` + u1 + `}}`, repository: "mirror.docker.io/library/a", want: none("1.json")},

		// At one key: credHelpers, credsStore, auths.
		{name: "credHelpers first", file: `{"credHelpers":{"reg:5000":"answers"},"credsStore":"is-broken","auths":{"reg:5000":` + u1 + `}}`, repository: "reg:5000/a", want: `password user, helper docker-credential-answers, server "reg:5000"`},
		{name: "then credsStore", file: `{"credHelpers":{"reg":"is-broken"},"credsStore":"answers","auths":{"reg:5000":` + u1 + `}}`, repository: "reg:5000/a", want: `password user, helper docker-credential-answers, server "reg:5000"`},
		{name: "then auths", file: `{"credHelpers":{"reg":"knows-none"},"credsStore":"knows-none","auths":{"reg":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},
		{name: "credHelpers of a repository", file: `{"credHelpers":{"reg/a":"answers"},"auths":{"reg":` + u1 + `}}`, repository: "reg/a/b", want: `password user, helper docker-credential-answers, server "reg/a"`},
		{name: "auths of a repository before the host's helper", file: `{"credHelpers":{"reg":"is-broken"},"credsStore":"is-broken","auths":{"reg/a":` + u1 + `}}`, repository: "reg/a/b", want: `password u1, 1.json, key "reg/a"`},
		{name: "helpers are asked for keys as spelled", file: `{"credHelpers":{"https://reg":"answers"}}`, repository: "reg/a", want: `password user, helper docker-credential-answers, server "https://reg"`},
		{name: "not found goes on to the next key", file: `{"credHelpers":{"reg/a":"knows-none"},"auths":{"reg":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},
		{name: "broken helper", file: `{"credHelpers":{"reg":"is-broken"},"auths":{"reg":` + u1 + `}}`, repository: "reg/a", want: `error: credential helper docker-credential-is-broken, asked for "reg" because of 1.json`},
		{name: "broken store", file: `{"credsStore":"is-broken","auths":{"reg":` + u1 + `}}`, repository: "reg/a", want: `error: credential helper docker-credential-is-broken, asked for "reg" because of 1.json`},
		{name: "broken helper of a repository", file: `{"credHelpers":{"reg/a":"is-broken"},"auths":{"reg":` + u1 + `}}`, second: `{"auths":{"reg":` + u2 + `}}`, repository: "reg/a/b", want: `error: credential helper docker-credential-is-broken, asked for "reg/a" because of 1.json`},
		{name: "absent helper", file: `{"credHelpers":{"reg":"absent"},"auths":{"reg":` + u1 + `}}`, repository: "reg/a", want: `error: docker-credential-absent, asked for "reg" because of 1.json: it is not in PATH`},

		// Markers: docker login leaves entries without secrets.
		{name: "marker of the host", file: `{"credsStore":"answers","auths":{"reg":{}}}`, repository: "reg/a", want: `password user, helper docker-credential-answers, server "reg"`},
		{name: "marker of the host, as spelled", file: `{"credsStore":"answers","auths":{"https://reg":{}}}`, repository: "reg/a", want: `password user, helper docker-credential-answers, server "https://reg"`},
		{name: "marker of a repository", file: `{"credsStore":"answers","auths":{"reg/a":{}}}`, repository: "reg/a/b", want: `password user, helper docker-credential-answers, server "reg/a"`},
		{name: "marker with a user only", file: `{"credsStore":"answers","auths":{"reg/a":{"auth":"dTo="}}}`, repository: "reg/a", want: `password user, helper docker-credential-answers, server "reg/a"`},
		{name: "null marker", file: `{"credsStore":"answers","auths":{"reg/a":null}}`, repository: "reg/a", want: `password user, helper docker-credential-answers, server "reg/a"`},
		{name: "marker without a store", file: `{"auths":{"reg/a":{},"reg":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},
		{name: "marker that nobody knows", file: `{"credsStore":"knows-none","auths":{"reg/a":{}}}`, repository: "reg/a", want: `none, none: docker-credential-knows-none (1.json) has none for "reg/a"`},
		{name: "no marker, no question below the host", file: `{"credsStore":"knows-none","auths":{"reg":` + u1 + `}}`, repository: "reg/a/b/c", want: `password u1, 1.json, key "reg"`},

		// What there is beside passwords.
		{name: "identity token", file: `{"auths":{"reg":` + identity + `}}`, repository: "reg/a", want: `identity, 1.json, key "reg"`},
		{name: "<token> user", file: `{"auths":{"reg":` + entry("<token>") + `}}`, repository: "reg/a", want: `identity, 1.json, key "reg"`},
		{name: "registry token", file: `{"auths":{"reg":` + registryTk + `}}`, repository: "reg/a", want: `registry token, 1.json, key "reg"`},
		{name: "user and password in fields", file: `{"auths":{"reg":{"username":"u1","password":"` + secret + `"}}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},

		// Several sources.
		{name: "first file wins", file: `{"auths":{"reg":` + u1 + `}}`, second: `{"auths":{"reg/a":` + u2 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},
		{name: "second file", file: `{"credsStore":"knows-none"}`, second: `{"auths":{"reg/a":` + u2 + `}}`, repository: "reg/a", want: `password u2, 2.json, key "reg/a"`},
		{name: "a marker goes on to the second file", file: `{"auths":{"reg/a":{}}}`, second: `{"auths":{"reg":` + u2 + `}}`, repository: "reg/a", want: `password u2, 2.json, key "reg"`},
		{name: "only the second exists", second: `{"auths":{"reg":` + u2 + `}}`, repository: "reg/a", want: `password u2, 2.json, key "reg"`},
		{name: "none in both", file: `{}`, second: `{}`, repository: "reg/a", want: none("1.json, no key for it in 2.json")},
		{name: "no store of another file", file: `{"auths":{"reg/a":{}}}`, second: `{"credsStore":"knows-none"}`, repository: "reg/a", want: `none, none: 1.json, key "reg/a" without a secret, docker-credential-knows-none (2.json) has none for "reg"`},
		{name: "inline first", inline: `{"auths":{"reg":` + u3 + `}}`, file: `{"auths":{"reg/a":` + u1 + `}}`, repository: "reg/a", want: `password u3, DOCKER_AUTH_CONFIG, key "reg"`},
		{name: "inline without it", inline: `{"auths":{"other":` + u3 + `}}`, file: `{"auths":{"reg":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},
		{name: "inline with unknown fields", inline: `{"experimental":[1],"auths":{"reg":` + u3 + `}}`, repository: "reg/a", want: `password u3, DOCKER_AUTH_CONFIG, key "reg"`},
		{name: "inline malformed", inline: `{"auths":{"reg":` + u3, file: `{"auths":{"reg":` + u1 + `}}`, repository: "reg/a", want: `error: DOCKER_AUTH_CONFIG is not a Docker configuration`},
		{name: "inline of another shape", inline: `{"auths":["` + secret + `"]}`, repository: "reg/a", want: `error: DOCKER_AUTH_CONFIG is not a Docker configuration`},
		{name: "file malformed", file: `{"auths":{"reg":` + u1, second: `{"auths":{"reg":` + u2 + `}}`, repository: "reg/a", want: `error: 1.json is not a Docker configuration`},
		{name: "malformed but not reached", file: `{"auths":{"reg":` + u1 + `}}`, second: `}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},

		// One bad entry hurts only who needs it.
		{name: "bad neighbour", file: `{"auths":{"bad":{"auth":"` + secret + `!"},"reg":` + u1 + `}}`, repository: "reg/a", want: `password u1, 1.json, key "reg"`},
		{name: "bad base64", file: `{"auths":{"bad":{"auth":"` + secret + `!"},"reg":` + u1 + `}}`, repository: "bad/a", want: `error: 1.json: the entry "bad" of auths is not valid`},
		{name: "bad entry of a repository", file: `{"auths":{"bad/a":{"auth":"` + secret + `!"},"bad":` + u1 + `}}`, repository: "bad/a", want: `error: 1.json: the entry "bad/a" of auths is not valid`},
		{name: "bad pair", file: `{"auths":{"bad":{"auth":"SFVOVEVSMg=="}}}`, repository: "bad/a", want: `error: 1.json: the entry "bad" of auths is not valid`},
		{name: "bad type", file: `{"auths":{"bad":"` + secret + `"}}`, repository: "bad/a", want: `error: 1.json: the entry "bad" of auths is not valid`},
		{name: "bad helper neighbour", file: `{"credHelpers":{"bad":["` + secret + `"],"reg":"answers"}}`, repository: "reg/a", want: `password user, helper docker-credential-answers, server "reg"`},
		{name: "bad helper", file: `{"credHelpers":{"bad":["` + secret + `"],"reg":"answers"}}`, repository: "bad/a", want: `error: 1.json: the entry "bad" of credHelpers is not a string`},
		{name: "bad entry below is not reached", file: `{"auths":{"reg/a":` + u1 + `,"reg":7}}`, repository: "reg/a", want: `password u1, 1.json, key "reg/a"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checkLookup(t, test.inline, []string{test.file, test.second}, test.repository, test.want)
		})
	}
}

func checkLookup(t *testing.T, inline string, files []string, name, want string) {
	t.Helper()
	dir := t.TempDir()
	options := StoresOptions{Inline: Secret(inline)}
	for i, content := range files {
		path := filepath.Join(dir, fmt.Sprintf("%d.json", i+1))
		if content != "" {
			writeFile(t, path, content)
		}
		options.Files = append(options.Files, path)
	}
	stores := NewStores(options)
	credential, err := stores.Lookup(ctx(), repository(t, name))
	noLeak(t, credential, stores)
	if says, ok := strings.CutPrefix(want, "error: "); ok {
		wantError(t, errWithoutDir(err, dir), says)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(describe(credential), dir+"/", ""); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func errWithoutDir(err error, dir string) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), dir+"/", ""))
}

// describe says what kind of credential it is and where it is from.
func describe(c Credential) string {
	kind := "none"
	switch {
	case c.Password != "":
		kind = "password " + c.Username
	case c.IdentityToken != "":
		kind = "identity"
	case c.RegistryToken != "":
		kind = "registry token"
	}
	for _, s := range []Secret{c.Password, c.IdentityToken, c.RegistryToken} {
		if s != "" && s != secret {
			kind += " with a wrong secret"
		}
	}
	return kind + ", " + c.Source
}
