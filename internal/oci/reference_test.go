package oci

import (
	"testing"

	"github.com/nestedoci/nested/remotes/auth"
)

func TestBelow(t *testing.T) {
	t.Parallel()
	top := repository(t, "reg.example/org/app")
	for _, c := range []struct{ name, want string }{
		{"org/app", ""},
		{"org/app/web", "web"},
		{"org/app/a/b", "a/b"},
		{"org/app/org/app", "org/app"},
		{"org/app2", "org/app2"}, // which is not below it
	} {
		if got := Below(top, repository(t, "reg.example/"+c.name)); got != c.want {
			t.Errorf("%s as seen from %s is %q, want %q", c.name, top, got, c.want)
		}
	}
	if got := Below(top, auth.Repository{}); got != "" {
		t.Errorf("no repository is %q", got)
	}
}

func repository(t *testing.T, s string) auth.Repository {
	t.Helper()
	r, err := auth.ParseRepository(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
