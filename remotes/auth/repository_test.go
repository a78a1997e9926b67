package auth

import (
	"path"
	"strings"
	"testing"
)

func TestParseRepository(t *testing.T) {
	t.Parallel()
	host255 := "reg.test/" + strings.Repeat("a", 255-len("reg.test/"))
	for _, s := range []string{
		"reg.test/a", "reg/a", "reg:5000/a/b", "REG.test/a", "[::1]:5000/a", "127.0.0.1:5000/a", "reg.test:443/a",
		"docker.io/library/a", "reg.test/a.b/a_b/a__b/a-b/a---b/0", host255,
	} {
		r, err := ParseRepository(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if host, name, _ := strings.Cut(s, "/"); r.String() != s || r.Host() != host || r.Name() != name || r.pullScope() != "repository:"+name+":pull" {
			t.Errorf("%q: got %q, host %q, name %q, scope %q", s, r, r.Host(), r.Name(), r.pullScope())
		}
	}
	for _, s := range []string{
		"", "a", "/a", "reg.test", "reg.test/", "reg.test//a", "reg.test/a/", "reg.test/A", "reg.test/..", "reg.test/a/../b",
		"reg.test/a:tag", "reg.test/a@sha256:" + strings.Repeat("0", 64), "https://reg.test/a", "user@reg.test/a", "reg.test:x/a",
		"reg.test/a b", "reg.test\n/a", "reg.test/a\r", "reg.test/a\x00", "reg.test/%61", "reg.test/é", "-reg/a", "[::1/a", host255 + "a",
		strings.Repeat("h", 70_000) + "/a",
	} {
		if r, err := ParseRepository(s); err == nil {
			t.Errorf("%.80q: accepted as %q", s, r)
		} else if strings.ContainsAny(err.Error(), "\n\r\x00") || len(err.Error()) > 500 {
			t.Errorf("%.80q: error %.600q", s, err)
		}
	}
}

func FuzzRepository(f *testing.F) {
	for _, s := range []string{"reg.test/a", "[::1]:5000/a/b", "reg:5000/a__b/c.d", "reg.test/../a", "reg.test/%2e", "a/b", "a.b:1/c@d", "library/a", "localhost/a", "A/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRepository(s)
		if err != nil {
			return
		}
		if r.String() != s || len(s) > maxRepository || path.Clean(r.Name()) != r.Name() || strings.ContainsAny(s, "%@\\ \n") || r.Host() == "" || r.Name() == "" || r.pullScope() != "repository:"+r.Name()+":pull" {
			t.Errorf("%q: got host %q, name %q", s, r.Host(), r.Name())
		}
	})
}
