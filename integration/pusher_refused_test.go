package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	registryclient "github.com/nestedoci/nested/remotes/registry"
)

// answerInstead puts a handler in front of the registry, behind the log; it returns whether it has answered.
func (r *registry) answerInstead(answer func(http.ResponseWriter, *http.Request) bool) {
	r.replace(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if !answer(w, req) {
				next.ServeHTTP(w, req)
			}
		})
	})
}

func isMount(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Get("mount") != ""
}

// aliceAt is a registry where alice may push to all repositories of a bundle.
func aliceAt(t *testing.T, bundle node, serve func(*httptest.Server)) (*registry, map[string]login) {
	t.Helper()
	alice := login{"alice", "canary of alice"}
	tokens := serveTokens(t, map[string]user{alice.username: {password: alice.password, rights: pushes(allRepositories("org/app", bundle)...)}}, serve)
	reg := registryOptions{serve: serve}.start(t, tokens)
	return reg, map[string]login{reg.host: alice}
}

// TestPusherMountRefused: a blob that cannot be mounted is uploaded, whoever says so and how.
func TestPusherMountRefused(t *testing.T) {
	base := baseLayer(t)
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", base)}, member{"worker", newImage(t, amd64, "worker\n", base)})
	placed, _ := countBlobs(blobsOf("org/app", bundle))
	store := newStore(t, bundle)
	for _, test := range []struct {
		name            string
		registry, token int // the statuses with which a mount and its token are refused
	}{
		{"not done", http.StatusAccepted, 0},
		{"registry: denied", http.StatusForbidden, 0},
		{"registry: unauthorized", http.StatusUnauthorized, 0},
		{"registry: no such source", http.StatusNotFound, 0},
		{"token: denied", 0, http.StatusForbidden},
		{"token: unauthorized", 0, http.StatusUnauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg, logins := aliceAt(t, bundle, (*httptest.Server).Start)
			reg.tokens.refuseWhen(func(r tokenRequest) int {
				if len(r.Scopes) > 1 {
					return test.token
				}
				return 0
			})
			reg.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case !isMount(r) || test.registry == 0:
					return false
				case test.registry == http.StatusAccepted:
					r.URL.RawQuery = ""
					return false
				}
				w.WriteHeader(test.registry)
				return true
			})
			resolver := nested.New(registriesFor(t, logins, registryclient.Options{}), nested.Options{Store: store, Strategy: nested.Reference})
			must(t, pushFrom(t, resolver, reg.ref("org/app", "v1"), bundle, store, platforms.All))
			reg.checkPlaced(t, "org/app", bundle)
			log := reg.requests()
			if puts, begun := uploads(log, "PUT", 201), uploads(log, "POST", 202); puts != placed || begun != placed {
				t.Errorf("%d uploads, %d begun, of %d blobs", puts, begun, placed)
			}
			refused := 0
			if test.registry >= 400 {
				refused = 1
			}
			if got := uploads(log, "POST", test.registry); refused > 0 && got != refused {
				t.Errorf("%d mounts were tried", got)
			}
		})
	}
}

// TestPusherRemembersRefusals: from where one blob could not be mounted no other is.
func TestPusherRemembersRefusals(t *testing.T) {
	app, web := loginOf("org/app"), loginOf("org/app/web")
	tokens := startTokenServer(t, map[string]user{
		app.username: {password: app.password, rights: pushes("org/app")},
		web.username: {password: web.password, rights: pushes("org/app/web")},
	})
	reg := startRegistry(t, tokens)
	registries := registriesFor(t, map[string]login{reg.host + "/org/app": app, reg.host + "/org/app/web": web}, registryclient.Options{})
	source, err := auth.ParseRepository(reg.host + "/org/app/web")
	must(t, err)
	for range 3 {
		blob := randomBlob("application/x-test", 1<<10)
		reg.pushBlob(t, "org/app/web", blob.desc, bytes.NewReader(blob.data))
		pusher, err := registries.Pusher(t.Context(), reg.ref("org/app", "v1"))
		must(t, err)
		must(t, pushTo(t, pusher, oci.MountFrom(blob.desc, source), blob.data))
	}
	log := reg.requests()
	if puts, refused := uploads(log, "PUT", 201), uploads(log, "POST", 401); puts != 3 || refused != 1 {
		t.Errorf("%d uploads, %d refused mounts", puts, refused)
	}
	if asked := len(tokens.requests()); asked != 2 {
		t.Errorf("%d token requests", asked)
	}
}

// TestPusherEmptyBlobRefused: the answer is waited for.
func TestPusherEmptyBlobRefused(t *testing.T) {
	empty := newContent("application/x-test", nil)
	reg := startRegistry(t, nil)
	reg.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusBadRequest)
		}
		return r.Method == http.MethodPut
	})
	pusher, err := registriesFor(t, nil, registryclient.Options{}).Pusher(t.Context(), reg.ref("org/app", "v1"))
	must(t, err)
	if err := pushTo(t, pusher, empty.desc, empty.data); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("%v", err)
	}
}

// TestPusherMountFromParent: a blob that only one child has is not mounted from the parent, but uploaded.
func TestPusherMountFromParent(t *testing.T) {
	blob := randomBlob("application/x-test", 1<<10)
	alice := login{"alice", "canary of alice"}
	tokens := startTokenServer(t, map[string]user{alice.username: {password: alice.password, rights: pushes("org/app", "org/app/web", "org/app/worker")}})
	reg := startRegistry(t, tokens)
	reg.pushBlob(t, "org/app/web", blob.desc, bytes.NewReader(blob.data))
	registries := registriesFor(t, map[string]login{reg.host: alice}, registryclient.Options{})
	parent, err := auth.ParseRepository(reg.host + "/org/app")
	must(t, err)
	pusher, err := registries.Pusher(t.Context(), reg.ref("org/app/worker", "v1"))
	must(t, err)
	must(t, pushTo(t, pusher, oci.MountFrom(blob.desc, parent), blob.data))
	log := reg.requests()
	if begun, puts := uploads(log, "POST", 202), uploads(log, "PUT", 201); begun != 1 || puts != 1 {
		t.Errorf("%d uploads begun, %d done: %+v", begun, puts, log)
	}
	token, _ := askToken(t, tokens, alice.username, alice.password, pullScope("org/app/worker"))
	if got := reg.get(t, "/v2/org/app/worker/blobs/"+blob.desc.Digest.String(), token); !bytes.Equal(got.body, blob.data) {
		t.Errorf("status %d, %d bytes", got.status, len(got.body))
	}
}

// TestPusherUploadElsewhere: who takes an upload in the registry's place gets the blob and no secret.
func TestPusherUploadElsewhere(t *testing.T) {
	for name, serve := range map[string]func(*httptest.Server){"other port": (*httptest.Server).Start, "other host": (*httptest.Server).Start, "http": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			blob := randomBlob("application/x-test", 1<<16)
			artifact := newArtifact(t, "application/vnd.test", blob)
			reg, logins := aliceAt(t, artifact, serve)
			got := make(chan *http.Request, 1)
			elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var body bytes.Buffer
				if _, err := body.ReadFrom(r.Body); err != nil || !bytes.Equal(body.Bytes(), blob.data) {
					t.Errorf("%d bytes, %v", body.Len(), err)
				}
				got <- r
				w.WriteHeader(http.StatusCreated)
			}))
			t.Cleanup(elsewhere.Close)
			headers := make(chan http.Header, 100)
			reg.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
				headers <- r.Header
				if r.Method != http.MethodPost || r.Header.Get("Authorization") == "" {
					return false
				}
				location := elsewhere.URL
				if name == "other host" {
					location = strings.Replace(location, "127.0.0.1", "localhost", 1)
				}
				w.Header().Set("Location", location+"/upload?signed=canary")
				w.WriteHeader(http.StatusAccepted)
				return true
			})
			certsD := t.TempDir()
			text := reg.hostsOf()
			if reg.ca != "" {
				text += fmt.Sprintf("ca = %q\n", writeFile(t, filepath.Join(certsD, "ca.pem"), reg.ca))
			}
			writeHosts(t, certsD, reg.host, text+"[header]\nX-Hosts = \"canary\"\n")
			registries := registriesFor(t, logins, registryclient.Options{HostsDir: certsD, Header: http.Header{"X-Client": {"canary"}}, UserAgent: "test"})
			pusher, err := registries.Pusher(t.Context(), reg.ref("org/app", "v1"))
			must(t, err)
			err = pushTo(t, pusher, blob.desc, blob.data)
			if name == "http" { // which is no place for what a registry at https is to keep
				if err == nil || !strings.Contains(err.Error(), "over http") || len(got) > 0 || leaks(err.Error()) {
					t.Errorf("%v", err)
				}
				return
			}
			must(t, err)
			asked := <-got
			if asked.Method != http.MethodPut || asked.URL.Query().Get("digest") != blob.desc.Digest.String() || asked.URL.Query().Get("signed") != "canary" {
				t.Errorf("%s %s", asked.Method, asked.URL)
			}
			for _, name := range []string{"Authorization", "X-Hosts", "X-Client"} {
				if asked.Header.Get(name) != "" {
					t.Errorf("%s went there", name)
				}
			}
			if h := <-headers; h.Get("X-Hosts") == "" || h.Get("X-Client") == "" || asked.Header.Get("User-Agent") != "test" {
				t.Errorf("headers of the registry: %v, elsewhere: %v", h, asked.Header)
			}
			elsewhere.Close()
			if err := pushTo(t, pusher, artifact.blobs[1].desc, artifact.blobs[1].data); err == nil || leaks(err.Error()) {
				t.Errorf("nobody there: %v", err)
			}
		})
	}
}

// TestPusherTokenEnds: a push whose token ends in the middle, and that gets no other, fails, and does not wait for ever.
func TestPusherTokenEnds(t *testing.T) {
	artifact := newArtifact(t, "application/vnd.test", randomBlob("application/x-test", 1<<20))
	reg, logins := aliceAt(t, artifact, (*httptest.Server).Start)
	reg.answerInstead(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		reg.tokens.refuseWhen(func(tokenRequest) int { return http.StatusForbidden })
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service=%q,error="invalid_token"`, reg.tokens.realm, service))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	registries := registriesFor(t, logins, registryclient.Options{})
	pusher, err := registries.Pusher(t.Context(), reg.ref("org/app", "v1"))
	must(t, err)
	failed := make(chan error, 1)
	go func() { failed <- pushTo(t, pusher, artifact.blobs[0].desc, artifact.blobs[0].data) }()
	select {
	case err := <-failed:
		var denied *auth.DeniedError
		if !errors.As(err, &denied) || leaks(err.Error()) {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

// TestPusherCancelled: a push in the middle of a blob ends with its context, and so does one that waits for it.
func TestPusherCancelled(t *testing.T) {
	blob := randomBlob("application/x-test", 1<<20)
	reg := startRegistry(t, nil)
	reached, over := make(chan struct{}), make(chan struct{})
	reg.answerInstead(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		close(reached)
		<-over
		return true
	})
	t.Cleanup(func() { close(over) })
	pusher, err := registriesFor(t, nil, registryclient.Options{}).Pusher(t.Context(), reg.ref("org/app", "v1"))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := pusher.Push(ctx, blob.desc)
	must(t, err)
	failed := make(chan error, 2)
	go func() {
		_, err := pusher.Push(ctx, blob.desc)
		failed <- err
	}()
	go func() {
		_, err := bytes.NewReader(append(blob.data, make([]byte, 32<<20)...)).WriteTo(w)
		failed <- err
	}()
	<-reached
	cancel()
	for range cap(failed) {
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	must(t, w.Close())
}

// TestRegistriesHeadAndDelete: what they return and of which class their errors are.
func TestRegistriesHeadAndDelete(t *testing.T) {
	image := newImage(t, amd64, "hello\n", baseLayer(t))
	app, web := loginOf("org/app"), loginOf("org/app/web")
	for _, enabled := range []bool{true, false} {
		tokens := startTokenServer(t, map[string]user{
			app.username: {password: app.password, rights: map[string][]string{"org/app": {"pull", "delete"}}},
			web.username: {password: web.password, rights: pulls("org/app/web")},
		})
		reg := registryOptions{serve: (*httptest.Server).Start, deletes: enabled}.start(t, tokens)
		registries := registriesFor(t, map[string]login{reg.host + "/org/app": app, reg.host + "/org/app/web": web, reg.host + "/org/other": web}, registryclient.Options{})
		repository := func(name string) auth.Repository {
			r, err := auth.ParseRepository(reg.host + "/" + name)
			must(t, err)
			return r
		}
		reg.pushNode(t, "org/app", "v1", image)
		reg.pushNode(t, "org/app/web", "v1", image)
		path := "manifests/" + image.desc.Digest.String()
		head := func(name, path string) (http.Header, error) {
			return registries.Head(t.Context(), repository(name), path, ocispec.MediaTypeImageManifest)
		}
		header, err := head("org/app", "manifests/v1")
		if err != nil || header.Get("Docker-Content-Digest") != image.desc.Digest.String() {
			t.Errorf("head: %v %v", header, err)
		}
		if _, err = head("org/app", "blobs/"+image.blobs[0].desc.Digest.String()); err != nil {
			t.Error(err)
		}
		if _, err = head("org/app", "manifests/v2"); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), reg.host+"/org/app") {
			t.Errorf("head of nothing: %v", err)
		}
		denials := map[string]error{"pull from": nil, "delete from": registries.Delete(t.Context(), repository("org/app/web"), path)}
		_, denials["pull from"] = head("org/other", "manifests/v1")
		for what, err := range denials {
			if !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "config.json") || !strings.Contains(err.Error(), "ask for the right to "+what) || leaks(err.Error()) {
				t.Errorf("without the right to %s: %v", what, err)
			}
		}
		err = registries.Delete(t.Context(), repository("org/app"), path)
		if !enabled {
			if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "does not allow DELETE") {
				t.Errorf("where it is not allowed: %v", err)
			}
			continue
		}
		if err != nil || reg.has(t, "org/app", image.content) || !reg.has(t, "org/app/web", image.content) {
			t.Errorf("delete: %v", err)
		}
		if err := registries.Delete(t.Context(), repository("org/app"), path); !errdefs.IsNotFound(err) {
			t.Errorf("a second delete: %v", err)
		}
		for _, line := range tokens.requests() {
			if len(line.Scopes) != 1 {
				t.Errorf("token request %+v", line)
			}
		}
	}
}
