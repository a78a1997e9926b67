package integration

import (
	"strings"
	"testing"
)

// openIndexes is a registry for everybody with the members web and a/b.
func openIndexes(t *testing.T, strict bool) (*registry, nestctl) {
	t.Helper()
	row := strategyRow{options: registryOptions{strict: strict}}
	reg := row.start(t)
	for _, name := range []string{"web", "a/b"} {
		reg.pushNode(t, "org/app/"+name, "v1", newImage(t, amd64, name+"\n", baseLayer(t)))
	}
	return reg, newNestctl(t, dockerConfig(t, nil, nil))
}

// TestIndexArguments: what cannot become an index that pulls is refused before anything is put.
func TestIndexArguments(t *testing.T) {
	reg, client := openIndexes(t, true)
	app, web := reg.ref("org/app", "v1"), reg.ref("org/app/web", "v1")
	for word, args := range map[string][]string{
		"tag \"a b\"":                      {"--tag", "a b", app, web},
		"tag \"\"":                         {"--tag", "", app, web},
		"must be a media type":             {"--artifact-type", "application/é", app, web},
		"must be KEY=VALUE":                {"--annotation", "x", app, web},
		"below " + reg.host + "/org/app":   {app, reg.ref("org/other", "v1")},
		"not under a digest":               {app + "@sha256:" + strings.Repeat("a", 64), web},
		"255 characters":                   {reg.host + "/org/" + strings.Repeat("a", 255) + ":v1", web},
		"invalid reference format":         {app, "name="},
		"where the SOURCE is":              {"--member-annotation", childNamespace + "=b", app, web},
		"must be one of auto, reference, ": {"--strategy", "guess", app, web},
	} {
		client.fails(t, exitUsage, []string{word}, append([]string{"index", "create", "--plain-http"}, args...)...)
	}
	client.fails(t, exitNotFound, []string{"org/app/web:nope"}, "index", "create", "--plain-http", app, reg.ref("org/app/web", "nope"))
	if puts := only(reg.requests(), func(r request) bool { return r.Method != "GET" && r.Method != "HEAD" }); len(puts) > 0 {
		t.Errorf("put: %+v", puts)
	}
}

// TestIndexTwice: a member that is named twice, or is there already, is one member; an index whose last member goes is
// empty; what is no index is not changed.
func TestIndexTwice(t *testing.T) {
	reg, client := openIndexes(t, true)
	app, web, b := reg.ref("org/app", "v1"), reg.ref("org/app/web", "v1"), reg.ref("org/app/a/b", "v1")
	if made := client.index(t, "create", app, web, web); len(made.Members) != 1 {
		t.Errorf("made %+v", made)
	}
	if made := client.index(t, "add", app, b, web); len(made.Members) != 2 {
		t.Errorf("added %+v", made)
	}
	if made := client.index(t, "remove", app, "web"); len(made.Members) != 1 {
		t.Errorf("removed %+v", made)
	}
	client.fails(t, exitFailure, []string{"org/app/a/b", "does not allow delete", "have it allowed"}, "index", "unprotect", "--plain-http", app)
	if got := client.run(t, "index", "remove", "--plain-http", app, "a/b").stdout; strings.Count(got, "\n") != 2 {
		t.Errorf("removed the last:\n%s", got)
	}
	client.index(t, "add", app, web)
	if made := client.index(t, "remove", app, "web"); made.Members == nil {
		t.Error("no list of members")
	}
	client.fails(t, exitFailure, []string{"is no index", "nestctl index create"}, "index", "add", "--plain-http", web, b)
}
