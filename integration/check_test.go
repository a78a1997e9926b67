package integration

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// checked is what `nestctl check --format json` prints, in part.
type checked struct {
	Whole        bool
	Repositories []struct{ Repository, Credential, Scope, Granted, Status string }
	Members      []struct {
		Path, Platform, Status string
		Missing                []string
	}
	Blobs              int
	Findings, Warnings []struct{ Kind, Path, Repository, Digest, Message string }
}

func (n nestctl) check(t testing.TB, code int, args ...string) checked {
	t.Helper()
	got := n.try(t, append([]string{"check", "--plain-http", "--format", "json"}, args...)...)
	if got.code != code {
		t.Fatalf("exit code %d, want %d: %s%s", got.code, code, got.stdout, got.stderr)
	}
	if leaks(got.stdout + got.stderr) {
		t.Error("a secret was shown")
	}
	var report checked
	must(t, json.Unmarshal([]byte(got.stdout), &report))
	return report
}

// TestCheck: of a bundle that is whole nothing but documents is fetched, with each repository's own user. Then one member
// is denied and another loses a layer: both are found, with whose credential, and the rest is still looked at.
func TestCheck(t *testing.T) {
	bundle := newDeepApp(t)
	users := userPerRepository(repositories("org/app", bundle)...)
	reg := registryOptions{serve: (*httptest.Server).Start, deletes: true}.start(t, startTokenServer(t, users))
	a := publishAt(t, reg, bundle)
	client := newNestctl(t, dockerConfig(t, a.logins, nil))

	whole := client.check(t, exitOK, a.ref)
	if !whole.Whole || len(whole.Members) != 4 || whole.Blobs != 9 || len(whole.Repositories) != len(a.logins) {
		t.Errorf("report %+v", whole)
	}
	for _, r := range whole.Repositories {
		name := strings.TrimPrefix(r.Repository, a.host+"/")
		if r.Scope != pullScope(name) || r.Granted != "pull" || r.Status != "ok" || !strings.HasSuffix(r.Credential, `config.json, key "`+r.Repository+`"`) {
			t.Errorf("repository %+v", r)
		}
	}
	a.checkTokens(t)
	a.checkAsked(t)

	lost := bundle.members[0].node.nodes[1].blobs[1].desc.Digest // of web's image for arm64
	a.push(t, http.MethodDelete, "/v2/org/app/web/blobs/"+lost.String(), "org/app/web", "", http.NoBody, 0)
	a.logins[a.host+"/org/app/rpm"] = loginOf("org/app/web")
	broken := newNestctl(t, dockerConfig(t, a.logins, nil)).check(t, exitDenied, a.ref)
	if broken.Whole || len(broken.Findings) != 2 || len(broken.Members) != 4 {
		t.Fatalf("report %+v", broken)
	}
	layer, denied := broken.Findings[0], broken.Findings[1]
	if layer.Kind != "not found" || layer.Path != "web" || layer.Repository != a.host+"/org/app/web" || layer.Digest != lost.String() {
		t.Errorf("finding %+v", layer)
	}
	if denied.Kind != "denied" || denied.Path != "rpm" || !strings.Contains(denied.Message, pullScope("org/app/rpm")) || !strings.Contains(denied.Message, "ask for the right to pull from it") {
		t.Errorf("finding %+v", denied)
	}
	statuses := map[string]int{}
	for _, m := range broken.Members {
		statuses[m.Path+" "+m.Status]++
	}
	if statuses["web ok"] != 1 || statuses["web incomplete"] != 1 || statuses["rpm denied"] != 1 || statuses["data/db ok"] != 1 {
		t.Errorf("members %+v", broken.Members)
	}
	i := slices.IndexFunc(broken.Repositories, func(r struct{ Repository, Credential, Scope, Granted, Status string }) bool {
		return r.Repository == a.host+"/org/app/rpm"
	})
	if r := broken.Repositories[i]; r.Status != "denied" || !strings.HasPrefix(r.Granted, "denied: ") {
		t.Errorf("repository %+v", r)
	}
}

// checkAsked checks that each document of the bundle was read once, and each blob asked for once in each repository.
func (a *app) checkAsked(t *testing.T) {
	t.Helper()
	log := only(a.requests(), func(line request) bool { return line.Status != http.StatusUnauthorized })
	for line, n := range tally(log, func(line request) string { return line.Method + " " + line.Repository + " " + line.Reference }) {
		if n != 1 {
			t.Errorf("%s: %d times", line, n)
		}
	}
	kinds := tally(log, func(line request) string { return line.Method + " " + line.Kind })
	if kinds["GET manifests"] != 7 || kinds["HEAD blobs"] != 10 || len(kinds) != 2 {
		t.Errorf("requests %v", kinds)
	}
}
