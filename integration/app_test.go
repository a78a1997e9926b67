package integration

import (
	"maps"
	"slices"
	"testing"
)

// app is a bundle at a registry in which each repository has a user of its own.
type app struct {
	*registry
	bundle node
	ref    string
	logins map[string]login
}

// publish pushes a bundle to a registry that wants tokens.
func publish(t testing.TB, bundle node) *app {
	t.Helper()
	users := userPerRepository(repositories("org/app", bundle)...)
	return publishAt(t, startRegistry(t, startTokenServer(t, users)), bundle)
}

func publishAt(t testing.TB, reg *registry, bundle node) *app {
	t.Helper()
	a := appAt(reg, bundle)
	a.pushNode(t, "org/app", "v1", bundle)
	return a
}

// appAt is a bundle that is to be at a registry.
func appAt(reg *registry, bundle node) *app {
	a := &app{registry: reg, bundle: bundle, ref: reg.ref("org/app", "v1"), logins: map[string]login{}}
	for _, repository := range repositories("org/app", bundle) {
		a.logins[reg.host+"/"+repository] = loginOf(repository)
	}
	return a
}

// repositories are those of a bundle, its own first.
func repositories(repository string, bundle node) []string {
	all := []string{repository}
	for _, m := range bundle.members {
		all = append(all, repositories(repository+"/"+m.namespace, m.node)...)
	}
	return all
}

// records are the image records of the bundle.
func (a *app) records() []string {
	return slices.Sorted(slices.Values(append(a.memberNames("org/app", a.bundle), a.ref)))
}

// checkTokens checks that each repository was asked for in one token request of its own user.
func (a *app) checkTokens(t testing.TB) {
	t.Helper()
	asked := map[string]int{}
	for _, line := range a.tokens.requests() {
		if len(line.Scopes) != 1 || line.Status != 200 {
			t.Errorf("token request %+v", line)
			continue
		}
		repository, _, _ := parseScope(line.Scopes[0])
		asked[repository]++
		if line.User != loginOf(repository).username || line.Scopes[0] != pullScope(repository) {
			t.Errorf("token request %+v", line)
		}
	}
	want := map[string]int{}
	for _, repository := range repositories("org/app", a.bundle) {
		want[repository] = 1
	}
	if !maps.Equal(asked, want) {
		t.Errorf("token requests by repository: %v, want %v", asked, want)
	}
}
