package intercept

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/usage"
)

func TestParseRegistry(t *testing.T) {
	for text, want := range map[string]string{
		"registry.test": "registry.test", "Registry.Test:5000": "registry.test:5000", "registry": "registry", "my_registry:5000": "my_registry:5000",
		"192.0.2.1": "192.0.2.1", "[2001:DB8:0::1]:5000": "[2001:db8::1]:5000", "[2001:db8::1]": "[2001:db8::1]", "bücher.test": "xn--bcher-kva.test",
		"registry.test.": "registry.test",
		"":               "", ":5000": "", "registry.test:": "", "registry.test:x": "", "registry.test:0": "", "registry.test:65536": "", "registry.test/a": "",
		"https://registry.test": "", "user@registry.test": "", "a..b": "", ".a": "", "..": "", "-a.test": "", "2001:db8::1": "", "[registry.test]": "",
		"[192.0.2.1]": "", "[fe80::1%25eth0]": "", "1.2.3": "", "a.test\x1b[2J": "", strings.Repeat("a.", 127) + "test": "", "a b.test": "", "*.test": "",
	} {
		r, err := ParseRegistry(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %s, want an error", text, r)
			}
			continue
		}
		if err != nil || r.String() != want {
			t.Errorf("%q is %s (%v), want %s", text, r, err, want)
		}
		if again, err := ParseRegistry(r.String()); err != nil || again != r {
			t.Errorf("%s reads back as %s (%v)", r, again, err)
		}
	}
}

func TestRegistriesIn(t *testing.T) {
	for arguments, want := range map[string]string{
		"pull registry.test/org/app:v1 app.tar":                   "[registry.test]",
		"copy docker://a.test:5000/x oci://b.test/y":              "[a.test:5000 b.test]",
		"cp a.test/x a.test/y A.test/z":                           "[a.test]",
		"get https://a.test/v2/ http://b.test:80 https://u:p@c/":  "[a.test b.test:80 c]",
		"get https://a.test?x=/y":                                 "[a.test]",
		"--from=a.test/x --to b.test/y -f=c.test/z":               "[a.test b.test c.test]",
		"--image=docker://d.test/x --subject=oci://e.test/x":      "[d.test e.test]",
		"inspect docker://nginx":                                  "[docker.io]",
		"inspect docker://library/nginx:1.27":                     "[docker.io]",
		"pull localhost/x 192.0.2.1/x [2001:db8::1]:5000/x":       "[localhost 192.0.2.1 [2001:db8::1]:5000]",
		"pull a.test/x@sha256:00 a.test/x:t1,t2":                  "[a.test]",
		"copy oci:dir:tag oci:dir/a.b:tag ocidir://a.test/b":      "[]",
		"copy layout:v1 layout/x:v1 docker-archive:/tmp/a.b/c":    "[]",
		"push ./a.b/c ../a.b/c /a.b/c app.tar dir/app.tar -a.b/c": "[]",
		"push file.txt:text/plain ./sbom.json:application/x.y+z":  "[]",
		"containers-storage:a.test/b dir:/x docker-daemon:a/b:c":  "[]",
		"registry.test nginx library/nginx":                       "[]",
		"--annotation=a.b/c.d=https://e.test/x --v=1 --password":  "[]",
		"docker:// oci://nginx oci://a/b https:// https:///x":     "[]",
		"s3://a.test/b file:///a.test/b //a.test/b":               "[]",
		"sha256:abc/x 1.5/2 application/vnd.oci.image.config.v1":  "[]",
	} {
		if got := fmt.Sprint(RegistriesIn(strings.Fields(arguments))); got != want {
			t.Errorf("%s: %s, want %s", arguments, got, want)
		}
	}
}

func TestRegistryHas(t *testing.T) {
	for _, c := range []struct {
		registry, scheme, host string
		want                   bool
	}{
		{"a.test", "https", "a.test", true},
		{"a.test", "https", "A.TEST.:443", true},
		{"a.test", "http", "a.test", true},
		{"a.test", "https", "a.test:5000", false},
		{"a.test", "https", "b.a.test", false},
		{"a.test:5000", "https", "a.test:5000", true},
		{"a.test:5000", "https", "a.test", false},
		{"a.test:443", "https", "a.test", true},
		{"a.test:443", "http", "a.test", false},
		{"[2001:db8::1]", "https", "[2001:DB8:0::1]:443", true},
		{"docker.io", "https", "registry-1.docker.io", true},
		{"docker.io", "https", "index.docker.io:443", true},
		{"registry-1.docker.io", "https", "docker.io", true},
		{"docker.io", "https", "auth.docker.io", false},
	} {
		r, err := ParseRegistry(c.registry)
		noError(t, err)
		if got := r.has(targetOf(c.scheme, c.host)); got != c.want {
			t.Errorf("%s has %s://%s: %v", c.registry, c.scheme, c.host, got)
		}
	}
}

// TestSelect: what is named counts, and what cannot be intercepted is said before anything runs.
func TestSelect(t *testing.T) {
	for _, text := range []string{"", "localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "[::ffff:127.0.0.1]"} {
		var misuse usage.Error
		if _, err := Select(nil, []string{text + "/x", "-q"}); !errors.As(err, &misuse) || text != "" && !strings.Contains(err.Error(), "; use a name of it that is not loopback's, or nestctl serve --listen :443 --certificate FILE --registry NAME=") {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := Select([]string{"registry.test", text}, nil); !errors.As(err, &misuse) {
			t.Errorf("named %q: %v", text, err)
		}
	}
	for _, c := range []struct {
		named, arguments []string
		want             string
	}{
		{nil, []string{"registry.test/x", "docker://nginx", "192.0.2.1/x"}, "[registry.test docker.io 192.0.2.1]"},
		{[]string{"a.test", "b.test:5000"}, []string{"registry.test/x", "localhost/x"}, "[a.test b.test:5000]"},
	} {
		got, err := Select(c.named, c.arguments)
		noError(t, err)
		if fmt.Sprint(got) != c.want {
			t.Errorf("%q, %q: %v", c.named, c.arguments, got)
		}
	}
}

func TestNoProxy(t *testing.T) {
	for _, c := range []struct{ list, registries, want string }{
		{"b.test,c.test", "a.test", "b.test,c.test"},
		{" b.test , c.test ", "a.test", " b.test , c.test "},
		{"b.test, a.test ,c.test", "a.test", "b.test,c.test"},
		{"test,.corp", "a.test", ".corp"},
		{".test,.corp", "a.test", ".corp"},
		{"*.test,.corp", "a.test", ".corp"},
		{".a.test,*.a.test,.corp", "a.test", ".corp"}, // as curl reads it
		{"A.TEST,.corp", "a.test", ".corp"},
		{"est,.corp", "a.test", ".corp"}, // as requests of Python reads it
		{"registry.a.test,.corp", "a.test", "registry.a.test,.corp"},
		{"*", "a.test", ""},
		{"b.test *", "a.test", "b.test"},
		{"a.test:443,a.test:5000,.corp", "a.test", "a.test:5000,.corp"},
		{"a.test:443,a.test:5000,.corp", "a.test:5000", "a.test:443,.corp"},
		{"10.0.0.0/8,192.0.2.0/24", "192.0.2.1", "10.0.0.0/8"},
		{"192.0.2.1:5000,10.0.0.1", "192.0.2.1:5000", "10.0.0.1"},
		{"2001:db8::/32,fd00::/8", "[2001:db8::1]:5000", "fd00::/8"},
		{"docker.io,.corp", "docker.io", ".corp"},
		{"registry-1.docker.io,auth.docker.io", "docker.io", "auth.docker.io"},
		{"a.test,b.test,c.test", "a.test b.test", "c.test"},
	} {
		var registries []Registry
		for _, text := range strings.Fields(c.registries) {
			r, err := ParseRegistry(text)
			noError(t, err)
			registries = append(registries, r)
		}
		if got := without(c.list, registries); got != c.want {
			t.Errorf("%q without %s: %q, want %q", c.list, c.registries, got, c.want)
		}
	}
}

// TestCanIntercept: on macOS and Windows a Go program is refused, and no other.
func TestCanIntercept(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	noError(t, err)
	script := filepath.Join(t.TempDir(), "script")
	noError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700))
	for _, c := range []struct{ goos, program, says string }{
		{"linux", self, ""},
		{"darwin", script, ""},
		{"windows", script, ""},
		{"darwin", self, "is a Go program, and on macOS those do not read SSL_CERT_FILE"},
		{"windows", self, "; use Linux, or nestctl serve --listen :443 "},
	} {
		if err := canIntercept(c.goos, c.program); (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s on %s: %v, want %q", c.program, c.goos, err, c.says)
		}
	}
	if needsRoots("windows", nil) == nil || needsRoots("windows", roots("x")) != nil || needsRoots("darwin", nil) != nil || needsRoots("linux", nil) != nil {
		t.Error("roots are needed on Windows alone")
	}
}
