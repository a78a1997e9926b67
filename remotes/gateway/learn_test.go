package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// largeIndex puts an index of so many members, none of which is there.
func largeIndex(r *registrytest.Registry, repository, name string, members int) ocispec.Descriptor {
	entries := make([]ocispec.Descriptor, members)
	for i := range entries {
		member := fmt.Sprint(name, i)
		entries[i] = registrytest.Member(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(member), Size: 7}, member)
	}
	return r.Index(repository, entries...)
}

// learnt waits until all is written, and returns in how many transactions.
func (s *scene) learnt() int64 {
	s.t.Helper()
	if err := s.locations.Sync(); err != nil {
		s.t.Fatal(err)
	}
	return s.locations.Stats().Transactions
}

// TestLearntOnce: a document is learnt in one transaction, and then not again: from its second request on nothing is
// written, until it is time to be seen again.
func TestLearntOnce(t *testing.T) {
	s := newScene(t, Node)
	s.options.Prefetch = 0
	s.start(filepath.Join(t.TempDir(), "locations"))
	index := largeIndex(s.registry, "org/app", "m", 2000)
	s.registry.Tag("org/app", "large", index.Digest)
	carrier := s.registry.Artifact("org/app", nestedCarrier, s.registry.PutBlob("org/app", index.MediaType, []byte(s.registry.Body(s.publish().Digest))))
	s.registry.Tag("org/app", "carrier", carrier.Digest)
	referrer := strings.Replace(digest.FromString("m1").String(), ":", "-", 1)
	s.registry.Tag("org/app/m1", referrer, s.registry.Index("org/app/m1").Digest)
	s.registry.Allow("user of org/app", secret, "org/app", "org/app/m1")
	plain := s.registry.Index("org/app", s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"plain": "1"})))
	s.registry.Tag("org/app", "plain", plain.Digest)
	all := func() {
		for _, tag := range []string{"large", "carrier", "plain"} {
			head := s.do(http.MethodHead, "/v2/org/app/manifests/"+tag)
			s.do(http.MethodGet, "/v2/org/app/manifests/"+tag)
			if got := s.get("manifests", digest.Digest(head.header.Get("Docker-Content-Digest"))); got.status != http.StatusOK {
				t.Fatalf("%s: %+v", tag, got)
			}
		}
	}
	if got := s.do(http.MethodGet, "/v2/org/app/manifests/large"); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	if n := s.learnt(); n != 1 {
		t.Errorf("%d transactions for one document", n)
	}
	all()
	first := s.learnt()
	for range 3 {
		all()
	}
	if n := s.learnt(); n != first {
		t.Errorf("%d transactions for what was learnt", n-first)
	}
	for age, want := range map[time.Duration]int64{0: 0, time.Nanosecond: 1} { // by then it is old
		if err := s.locations.Close(); err != nil {
			t.Fatal(err)
		}
		s.remember.MaxAge = age
		s.start(s.file)
		s.do(http.MethodGet, "/v2/org/app/manifests/large")
		if n := s.learnt(); n != want {
			t.Errorf("after a restart, for what is remembered for %v: %d transactions, want %d", age, n, want)
		}
	}
}

const nestedCarrier = "application/vnd.nestedoci.carrier.v1+json"

// TestLearningKeepsNobodyWaiting: while large documents are being learnt, more than there is room for, others are
// answered, and find what they learn. Who waits for room does so until the request ends, and no longer than the
// gateway's time allows.
func TestLearningKeepsNobodyWaiting(t *testing.T) {
	s := newScene(t, Node)
	s.options.Timeout = 2 * time.Second
	s.start(filepath.Join(t.TempDir(), "locations"))
	goOn, err := s.locations.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	var large []ocispec.Descriptor
	for i := range 4 {
		large = append(large, largeIndex(s.registry, "org/app", fmt.Sprint("m", i, "x"), 9000))
	}
	for _, d := range large[:3] {
		if got := s.get("manifests", d.Digest); got.status != http.StatusOK {
			t.Fatalf("%d %.300s", got.status, got.body)
		}
	}
	s.publish()
	s.pull("v1")
	if got := s.get("manifests", large[3].Digest); got.status != http.StatusGatewayTimeout {
		t.Errorf("for longer than the gateway's time: %d %.300s", got.status, got.body)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client is gone")
	cancel(gone)
	parent := repository(t, s.registry.Host()+"/org/app")
	some := func(from, n int) (places []nested.Place) {
		for i := range n {
			places = append(places, plain(parent, digest.FromString(fmt.Sprint(from+i))))
		}
		return places
	}
	for i := 0; err == nil; i += 101 { // as much as there is room for
		err = s.locations.Learn(ctx, parent, some(i, 101)...)
	}
	if !errors.Is(err, gone) {
		t.Errorf("whose client is gone: %v", err)
	}
	if err = s.locations.Learn(t.Context(), parent, some(1<<20, 100)...); err != nil { // more than that
		t.Fatal(err)
	}
	web := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "2"}))
	s.registry.Tag("org/app", "v2", s.registry.Index("org/app", registrytest.Member(web, "web")).Digest)
	s.pull("v2")
	goOn()
	s.learnt()
	if got := s.get("manifests", large[3].Digest); got.status != http.StatusOK {
		t.Errorf("afterwards: %d %.300s", got.status, got.body)
	}
}

// TestStrangerLearnsNothingOfPulls: what a caller without a right is told, which requests that makes and what is looked up for it
// are the same whether somebody has pulled there or not.
func TestStrangerLearnsNothingOfPulls(t *testing.T) {
	for name, answer := range map[string]int{"denied": http.StatusForbidden, "hidden": http.StatusNotFound, "hidden but for its tags": http.StatusNotFound} {
		t.Run(name, func(t *testing.T) {
			var seen []string
			for _, pulled := range []bool{false, true} {
				s := newScene(t, Pod)
				s.options.SearchRequests = 3
				s.start(filepath.Join(t.TempDir(), "locations"))
				index := largeIndex(s.registry, "org/app", "m", 3000)
				s.registry.Tag("org/app", "large", index.Digest)
				s.registry.Allow("all", "all-secret", "org/app")
				s.registry.Allow("nobody", "no-secret", "org/app")
				if pulled {
					s.user = [2]string{"all", "all-secret"}
					s.do(http.MethodGet, "/v2/org/app/manifests/large")
					s.learnt()
				}
				if strings.Contains(name, "tags") {
					s.registry.Intercept(registrytest.Say(http.StatusOK, "application/json", `{"tags":["a","b","c","d","e"]}`, registrytest.WithCredentials, registrytest.Of(registrytest.KindTags)))
				}
				s.registry.Intercept(registrytest.Answer(answer, nil, registrytest.WithCredentials, registrytest.In("org/app")))
				s.user = [2]string{"nobody", "no-secret"}
				s.do(http.MethodGet, "/v2/org/app/tags/list") // the token is there, from now on, and nothing was searched for
				s.registry.ResetLog()
				before := s.locations.Stats().LookUps
				text := ""
				for _, path := range []string{"blobs/" + string(digest.FromString("m1")), "manifests/" + string(digest.FromString("m1")), "manifests/" + string(index.Digest),
					"referrers/" + string(digest.FromString("m1")), "manifests/" + strings.Replace(string(digest.FromString("m1")), ":", "-", 1)} {
					got := s.do(http.MethodGet, "/v2/org/app/"+path)
					text += strings.ReplaceAll(fmt.Sprintln(path, got.status, got.body), s.registry.Host(), "HOST")
				}
				for _, q := range s.registry.Log() {
					text += s.line(q) + "\n"
				}
				seen = append(seen, fmt.Sprintf("%s%d looks at the location cache\n", text, s.locations.Stats().LookUps-before))
			}
			if seen[0] != seen[1] {
				t.Errorf("before and after a pull:\n%s\n%s", seen[0], seen[1])
			}
		})
	}
}
