package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// front is a host before a registry, which passes requests on, or answers them as it is told to.
type front struct {
	host   string
	answer atomic.Pointer[http.HandlerFunc] // nil: pass on
}

func newFront(t testing.TB, reg *registry) *front {
	t.Helper()
	u, err := url.Parse("http://" + reg.host)
	must(t, err)
	f := new(front)
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }, ErrorLog: quiet}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if answer := f.answer.Load(); answer != nil {
			(*answer)(w, req)
			return
		}
		pass.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	f.host = strings.TrimPrefix(server.URL, "http://")
	return f
}

func (f *front) answers(h http.HandlerFunc) { f.answer.Store(&h) }

func (f *front) ref(repository, tag string) string { return f.host + "/" + repository + ":" + tag }

// TestLoginPage: a login page with 200 for whatever is asked, after a good pull: it fails inside containerd and by nestctl, says
// what came, and what was recorded stays as it was.
func TestLoginPage(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newApp(t))
	f := newFront(t, a.registry)
	daemon := startInside(t, nil)
	client := newNestctl(t, tempDir(t))
	pulls := map[string]func(ref string) (string, error){
		"inside": func(ref string) (string, error) {
			out, err := daemon.command(t, "image", "pull", "--plain-http", ref).CombinedOutput()
			return string(out), err
		},
		"nestctl": func(ref string) (string, error) {
			out, err := client.command(t, "pull", "-q", "--plain-http", "--platform", "linux/amd64", "--address", daemon.address, "--namespace", daemon.namespace, ref).CombinedOutput()
			return string(out), err
		},
	}
	for _, name := range []string{"inside", "nestctl"} {
		pull := pulls[name]
		f.answer.Store(nil)
		if out, err := pull(f.ref("org/app", "v1")); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		before := daemon.ctr(t, "image", "ls")
		f.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte("<html><title>Sign in</title></html>"))
		})
		out, err := pull(f.ref("org/app", "v1"))
		if err == nil || !strings.Contains(out, "200 text/html, which is not a manifest; check for a login page or proxy in front of it") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if after := daemon.ctr(t, "image", "ls"); after != before {
			t.Errorf("%s: records were\n%sand are\n%s", name, before, after)
		}
	}
}

// TestInsideHeadRefused: of a registry that refuses HEAD, plain images and bundles are pulled.
func TestInsideHeadRefused(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newApp(t))
	a.pushNode(t, "org/app", "plain", newImage(t, amd64, "plain\n", baseLayer(t)))
	f := newFront(t, a.registry)
	u, err := url.Parse("http://" + a.host)
	must(t, err)
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }, ErrorLog: quiet}
	daemon := startInside(t, nil)
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		f.answers(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodHead {
				w.WriteHeader(status)
				return
			}
			pass.ServeHTTP(w, req)
		})
		for _, tag := range []string{"v1", "plain"} {
			daemon.in(fmt.Sprint("status", status)).ctr(t, "image", "pull", "--plain-http", f.ref("org/app", tag))
		}
	}
}

// TestInsideFront: a host that redirects everything to a registry that asks for tokens: plain images and bundles are pulled,
// with the node's credentials for that registry. What the client gives is for the first, and stays there.
func TestInsideFront(t *testing.T) {
	bundle := newApp(t)
	a := publish(t, bundle)
	f := newFront(t, a.registry)
	f.answers(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "http://"+a.host+req.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
	daemon := startInside(t, a.logins)
	daemon.ctr(t, "image", "pull", "--plain-http", "--user", "first:canary of the first", f.ref("org/app", "v1"))
	if bad := daemon.incomplete(t); bad != nil {
		t.Errorf("images check: %q", bad)
	}
	if images := daemon.images(t); !slices.Contains(images, f.ref("org/app", "v1")) || len(images) != len(a.records()) {
		t.Errorf("images %q", images)
	}
	for _, line := range a.tokens.requests() {
		if line.User == "first" || line.Status != http.StatusOK {
			t.Errorf("token request %+v", line)
		}
	}
	// nestctl has the same stores.
	newNestctl(t, dockerConfig(t, a.logins, nil)).run(t, "check", "--plain-http", f.ref("org/app", "v1"))
}
