package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ocispec.Platform{OS: "linux", Architecture: "arm64"}
)

// askToken asks the token server as a client would.
func askToken(t *testing.T, s *tokenServer, name, password, scope string) (token string, status int) {
	t.Helper()
	query := url.Values{"service": {service}, "scope": {scope}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.realm+"?"+query.Encode(), http.NoBody)
	must(t, err)
	req.SetBasicAuth(name, password)
	answer, err := http.DefaultClient.Do(req)
	must(t, err)
	defer answer.Body.Close()
	var body struct{ Token string }
	must(t, json.NewDecoder(answer.Body).Decode(&body))
	return body.Token, answer.StatusCode
}

func TestHarnessRegistryWantsTokens(t *testing.T) {
	tokens := startTokenServer(t, map[string]user{
		"alice": {password: "secret-a", rights: pulls("org/app")},
		"bob":   {password: "secret-b", rights: pulls("org/other")},
	})
	reg := startRegistry(t, tokens)
	image := newImage(t, amd64, "hello", baseLayer(t))
	reg.pushNode(t, "org/app", "v1", image)
	path := "/v2/org/app/manifests/" + image.desc.Digest.String()

	alice, _ := askToken(t, tokens, "alice", "secret-a", pullScope("org/app"))
	bob, _ := askToken(t, tokens, "bob", "secret-b", pullScope("org/app"))
	for name, test := range map[string]struct {
		token  string
		status int
	}{
		"no token":         {"", http.StatusUnauthorized},
		"no token's form":  {"nonsense", http.StatusUnauthorized},
		"token of a right": {alice, http.StatusOK},
		"empty access":     {bob, http.StatusUnauthorized},
	} {
		if got := reg.get(t, path, test.token).status; got != test.status {
			t.Errorf("%s: status %d, want %d", name, got, test.status)
		}
	}
	challenge := reg.get(t, path, "").header.Get("WWW-Authenticate")
	if !strings.Contains(challenge, tokens.realm) || !strings.Contains(challenge, pullScope("org/app")) {
		t.Errorf("challenge %q", challenge)
	}
	if _, status := askToken(t, tokens, "alice", "wrong", pullScope("org/app")); status != http.StatusUnauthorized {
		t.Errorf("wrong password: status %d", status)
	}
	if got := tally(reg.requests(), func(r request) int { return r.Status }); got[200] != 1 || got[401] != 4 {
		t.Errorf("statuses in the log: %v", got)
	}
}

func TestHarnessContainerdPullsAndRuns(t *testing.T) {
	daemon := startContainerd(t)
	tokens := startTokenServer(t, map[string]user{"alice": {password: "secret-a", rights: pulls("org/app")}})
	reg := startRegistry(t, tokens)
	base := baseLayer(t)
	index := newIndex(t, newImage(t, amd64, "I am amd64\n", base), newImage(t, arm64, "I am arm64\n", base))
	reg.pushNode(t, "org/app", "v1", index)

	ref := reg.ref("org/app", "v1")
	daemon.ctr(t, "image", "pull", "--plain-http", "--user", "alice:secret-a", ref)
	if got := daemon.runImage(t, ref); got != "I am amd64\n" {
		t.Errorf("the container printed %q", got)
	}
	if bad := daemon.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
	if got := daemon.images(t); !slices.Equal(got, []string{ref}) {
		t.Errorf("images %q", got)
	}
	for _, asked := range tokens.requests() {
		if asked.User != "alice" || !slices.Equal(asked.Scopes, []string{pullScope("org/app")}) || asked.Status != http.StatusOK {
			t.Errorf("token request %+v", asked)
		}
	}

	daemon.ctr(t, "images", "rm", ref)
	daemon.collect(t)
	if got := daemon.blobs(t); len(got) > 0 {
		t.Errorf("content is left: %v", got)
	}
}

func TestHarnessPassKeepsCredentials(t *testing.T) {
	store := newPassStore(t)
	store.store(t, "reg.test:5000/org/app", "alice", "secret-a")
	if got := store.get(t, "reg.test:5000/org/app"); got.Username != "alice" || got.Secret != "secret-a" {
		t.Errorf("got %+v", got)
	}
}
