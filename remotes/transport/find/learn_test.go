package find

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

	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// learnt waits until all is written, and returns in how many transactions.
func (s *scene) learnt() int64 {
	s.T.Helper()
	if err := s.Locations.Sync(); err != nil {
		s.T.Fatal(err)
	}
	return s.Locations.Stats().Transactions
}

// TestLearntOnce: an index is learnt in one transaction, and then not again: from its second request on nothing is
// written, until it is time to be seen again.
func TestLearntOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.options.Prefetch = 0
	s.start(filepath.Join(t.TempDir(), "locations"))
	index := fronttest.LargeIndex(s.Registry, "org/app", "m", 2000)
	s.Registry.Tag("org/app", "large", index.Digest)
	carrier := s.Registry.Artifact("org/app", nestedCarrier, s.Registry.PutBlob("org/app", index.MediaType, []byte(s.Registry.Body(s.Publish().Digest))))
	s.Registry.Tag("org/app", "carrier", carrier.Digest)
	referrer := strings.Replace(digest.FromString("m1").String(), ":", "-", 1)
	s.Registry.Tag("org/app/m1", referrer, s.Registry.Index("org/app/m1").Digest)
	s.Registry.Allow("user of org/app", fronttest.Secret, "org/app", "org/app/m1")
	plain := s.Registry.Index("org/app", s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"plain": "1"})))
	s.Registry.Tag("org/app", "plain", plain.Digest)
	all := func() {
		for _, tag := range []string{"large", "carrier", "plain"} {
			head := s.Do(http.MethodHead, "/v2/org/app/manifests/"+tag)
			s.Do(http.MethodGet, "/v2/org/app/manifests/"+tag)
			if got := s.Get("manifests", digest.Digest(head.Header.Get("Docker-Content-Digest"))); got.Status != http.StatusOK {
				t.Fatalf("%s: %+v", tag, got)
			}
		}
	}
	if got := s.Do(http.MethodGet, "/v2/org/app/manifests/large"); got.Status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	if n := s.learnt(); n != 1 {
		t.Errorf("%d transactions for one index", n)
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
		if err := s.Locations.Close(); err != nil {
			t.Fatal(err)
		}
		s.Remember.MaxAge = age
		s.start(s.File)
		s.Do(http.MethodGet, "/v2/org/app/manifests/large")
		if n := s.learnt(); n != want {
			t.Errorf("after a restart, for what is remembered for %v: %d transactions, want %d", age, n, want)
		}
	}
}

const nestedCarrier = "application/vnd.nestedoci.carrier.v1+json"

// TestLearningKeepsNobodyWaiting: while large indexes are being learnt, more than there is room for, others are
// answered, and find what they learn. Who waits for room does so until the request ends, and no longer than the
// gateway's time allows.
func TestLearningKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.options.Timeout = 2 * time.Second
	s.start(filepath.Join(t.TempDir(), "locations"))
	goOn, err := s.Locations.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	var large []ocispec.Descriptor
	for i := range 4 {
		large = append(large, fronttest.LargeIndex(s.Registry, "org/app", fmt.Sprint("m", i, "x"), 9000))
	}
	for _, d := range large[:3] {
		if got := s.Get("manifests", d.Digest); got.Status != http.StatusOK {
			t.Fatalf("%d %.300s", got.Status, got.Body)
		}
	}
	s.Publish()
	s.Pull("v1")
	if got := s.Get("manifests", large[3].Digest); got.Status != http.StatusGatewayTimeout {
		t.Errorf("for longer than the gateway's time: %d %.300s", got.Status, got.Body)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client is gone")
	cancel(gone)
	parent := s.repository("org/app")
	some := func(from, n int) (places []nested.Place) {
		for i := range n {
			places = append(places, plain(parent, digest.FromString(fmt.Sprint(from+i))))
		}
		return places
	}
	for i := 0; err == nil; i += 101 { // as much as there is room for
		err = s.Locations.Learn(ctx, parent, some(i, 101)...)
	}
	if !errors.Is(err, gone) {
		t.Errorf("whose client is gone: %v", err)
	}
	if err = s.Locations.Learn(t.Context(), parent, some(1<<20, 100)...); err != nil { // more than that
		t.Fatal(err)
	}
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "2"}))
	s.Registry.Tag("org/app", "v2", s.Registry.Index("org/app", registrytest.Member(web, "web")).Digest)
	s.Pull("v2")
	goOn()
	s.learnt()
	if got := s.Get("manifests", large[3].Digest); got.Status != http.StatusOK {
		t.Errorf("afterwards: %d %.300s", got.Status, got.Body)
	}
}

// TestStrangerLearnsNothingOfPulls: what a caller without a right is told, which requests that makes and what is looked up for it
// are the same whether somebody has pulled there or not.
func TestStrangerLearnsNothingOfPulls(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]int{"denied": http.StatusForbidden, "hidden": http.StatusNotFound, "hidden but for its tags": http.StatusNotFound} {
		t.Run(name, func(t *testing.T) {
			var seen []string
			for _, pulled := range []bool{false, true} {
				s := newScene(t, pod)
				s.options.SearchRequests = 3
				s.start(filepath.Join(t.TempDir(), "locations"))
				index := fronttest.LargeIndex(s.Registry, "org/app", "m", 3000)
				s.Registry.Tag("org/app", "large", index.Digest)
				s.Registry.Allow("all", "all-secret", "org/app")
				s.Registry.Allow("nobody", "no-secret", "org/app")
				if pulled {
					s.User = [2]string{"all", "all-secret"}
					s.Do(http.MethodGet, "/v2/org/app/manifests/large")
					s.learnt()
				}
				if strings.Contains(name, "tags") {
					s.Registry.Intercept(registrytest.Say(http.StatusOK, "application/json", `{"tags":["a","b","c","d","e"]}`, registrytest.WithCredentials, registrytest.Of(registrytest.KindTags)))
				}
				s.Registry.Intercept(registrytest.Answer(answer, nil, registrytest.WithCredentials, registrytest.In("org/app")))
				s.User = [2]string{"nobody", "no-secret"}
				s.Do(http.MethodGet, "/v2/org/app/tags/list") // the token is there, from now on, and nothing was searched for
				s.Registry.ResetLog()
				before := s.Locations.Stats().LookUps
				text := ""
				for _, path := range []string{"blobs/" + string(digest.FromString("m1")), "manifests/" + string(digest.FromString("m1")), "manifests/" + string(index.Digest),
					"referrers/" + string(digest.FromString("m1")), "manifests/" + strings.Replace(string(digest.FromString("m1")), ":", "-", 1)} {
					got := s.Do(http.MethodGet, "/v2/org/app/"+path)
					text += strings.ReplaceAll(fmt.Sprintln(path, got.Status, got.Body), s.Registry.Host(), "HOST")
				}
				for _, q := range s.Registry.Log() {
					text += s.Line(q) + "\n"
				}
				seen = append(seen, fmt.Sprintf("%s%d looks at the location cache\n", text, s.Locations.Stats().LookUps-before))
			}
			if seen[0] != seen[1] {
				t.Errorf("before and after a pull:\n%s\n%s", seen[0], seen[1])
			}
		})
	}
}
