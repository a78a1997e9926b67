package gateway

import (
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
)

func TestPatternMatchesWholeComponents(t *testing.T) {
	for _, test := range []struct {
		pattern   string
		matches   []string
		different []string
	}{
		{"reg.test/team-a/*",
			[]string{"reg.test/team-a/x", "reg.test/team-a/x/web", "reg.test/team-a/x/a/b"},
			[]string{"reg.test/team-a", "reg.test/team-ab/x", "other.test/team-a/x", "reg.test:443/team-a/x", "reg.test/x/team-a/y"}},
		{"reg.test/**", []string{"reg.test/a", "reg.test/a/b"}, []string{"reg.tests/a"}},
		{"reg.test/**/app", []string{"reg.test/a/app", "reg.test/a/b/app", "reg.test/a/b/app/web"}, []string{"reg.test/app", "reg.test/a/apps"}},
		{"reg.test/*/app", []string{"reg.test/a/app", "reg.test/a/app/app"}, []string{"reg.test/a/b/app"}},
		{"127.0.0.1:5000/org/app", []string{"127.0.0.1:5000/org/app", "127.0.0.1:5000/org/app/web"}, []string{"127.0.0.1:5000/org/apple", "127.0.0.1:5000/org"}},
	} {
		p, err := ParsePattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != test.pattern {
			t.Errorf("%q reads back as %q", test.pattern, p)
		}
		for _, name := range test.matches {
			if !p.Match(clienttest.Repository(t, name)) {
				t.Errorf("%s does not match %s", test.pattern, name)
			}
		}
		for _, name := range test.different {
			if p.Match(clienttest.Repository(t, name)) {
				t.Errorf("%s matches %s", test.pattern, name)
			}
		}
	}
	for _, bad := range []string{"", "reg.test", "reg.test/", "/a", "reg.test//a", "reg.test/a/", "reg.test/A", "reg.test/a*", "reg.test/***", "*/a", "reg.test/../a", "reg.test/a?b", "a b/c"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, p)
		}
	}
}
