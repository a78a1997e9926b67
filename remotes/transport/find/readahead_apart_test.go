package find

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// newApart is a scene of clients that keep what they get apart, all of which show one credential.
func newApart(t *testing.T, change func(*Options)) *scene {
	t.Helper()
	s := newScene(t, pod)
	s.options.Apart = true
	if change != nil {
		change(&s.options.Options)
	}
	s.start(filepath.Join(t.TempDir(), "locations"))
	s.Registry.Allow("one", fronttest.Secret, "org/app", "org/app/web")
	s.User = [2]string{"one", fronttest.Secret}
	return s
}

// pullFleet is the n-th pull of a fleet of six: after two members the registry was asked for all of it.
func (s *scene) pullFleet(root ocispec.Descriptor, members []ocispec.Descriptor, n int) {
	s.T.Helper()
	const all = 1 + 6 + 2*6 + 1
	s.Had = map[digest.Digest]bool{}
	s.Get("manifests", root.Digest)
	s.Fetch(members[5])
	s.Fetch(members[4])
	s.await(n * all)
	for _, d := range members[:4] {
		s.Fetch(d)
	}
}

// machines are clients of one credential that pull an index of places, one after the other.
type machines struct {
	*readAhead
	t      *testing.T
	q      Request
	places []nested.Place
}

func newMachines(t *testing.T, load func(context.Context, nested.Place) (*content, error)) *machines {
	t.Helper()
	repository, err := auth.ParseRepository("reg.test/org/app")
	clienttest.NoError(t, err)
	var places []nested.Place
	for i := range 50 {
		places = append(places, nested.PlaceIn(repository, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString(fmt.Sprint(i)), Size: 1,
		}))
	}
	a := &readAhead{limit: 64, timeout: time.Second, maxAge: time.Minute, pulls: map[tenant]*pull{}}
	a.load = func(ctx context.Context, _ Request, p nested.Place) (*content, []nested.Place, error) {
		c, err := load(ctx, p)
		return c, nil, err
	}
	return &machines{a, t, Request{kind: Manifests, repository: repository}, places}
}

// pull gets the index and a part of what it names, and returns how much of that was read ahead.
func (m *machines) pull(of []nested.Place) (hits int) {
	root, q := m.q, m.q
	root.digest, q.kind = digest.FromString("root"), Blobs
	m.observe(root, &content{mediaType: ocispec.MediaTypeImageIndex, next: m.places})
	m.mu.Lock()
	p := m.pulls[q.tenant()]
	for _, i := range p.items { // as if the client had asked for two entries
		p.open(i.window)
	}
	p.fetchQueued()
	m.mu.Unlock()
	for _, place := range of {
		q.digest = place.Descriptor().Digest
		ctx, end := withBudget(m.t.Context(), q.tenant(), time.Second)
		if m.claim(ctx, q) != nil {
			hits++
		}
		end()
	}
	return hits
}

// TestReadAheadOfManyMachinesIsBounded: what machines get, again and again, does not gather while nothing can be fetched.
func TestReadAheadOfManyMachinesIsBounded(t *testing.T) {
	t.Parallel()
	m := newMachines(t, func(context.Context, nested.Place) (*content, error) { return nil, errors.New("it is broken") })
	for range 20 {
		m.pull(m.places)
		m.mu.Lock()
		if n := len(m.pulls[m.q.tenant()].queue); n > 2*len(m.places) || m.items > len(m.places) {
			t.Errorf("%d are queued, of %d items", n, m.items)
		}
		m.mu.Unlock()
	}
}

// TestReadAheadAfterLeftovers: what one machine did not take in time is read ahead for the next.
func TestReadAheadAfterLeftovers(t *testing.T) {
	t.Parallel()
	memory := NewMemory(DefaultMemory)
	m := newMachines(t, func(ctx context.Context, p nested.Place) (*content, error) {
		portion, err := take(ctx, memory.content, 100)
		return &content{digest: p.Descriptor().Digest, data: []byte("x"), memory: portion}, err
	})
	m.pull(m.places[:2])
	clienttest.Await(t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.pulls[m.q.tenant()].fetching == 0
	}, func() string { return "it goes on fetching" })
	m.mu.Lock()
	for _, i := range m.pulls[m.q.tenant()].items {
		i.fetched = i.fetched.Add(-2 * m.maxAge)
	}
	m.mu.Unlock()
	if hits := m.pull(m.places); hits < 30 {
		t.Errorf("%d of %d were read ahead", hits, len(m.places))
	}
	m.close()
	if n := memory.Used(); n != 0 || m.items != 0 || m.outstanding != 0 {
		t.Errorf("%d bytes, %d items, %d outstanding", n, m.items, m.outstanding)
	}
}

// TestReadAheadAfterHeadByDigest: a machine that asks for a known index by its digest with HEAD, and then gets it, is read
// ahead for as the first was.
func TestReadAheadAfterHeadByDigest(t *testing.T) {
	t.Parallel()
	s := newApart(t, nil)
	root, members := s.fleet(6)
	for i := range 3 {
		s.Do(http.MethodHead, "/v2/org/app/manifests/"+root.Digest.String())
		s.pullFleet(root, members, i+1)
	}
}

// TestKnownIndexNeedsNoMemoryToDecode: where there is none to read ahead with, a known index is served as it is.
func TestKnownIndexNeedsNoMemoryToDecode(t *testing.T) {
	t.Parallel()
	s := newApart(t, func(o *Options) { o.Memory = NewMemory(DefaultMemory) })
	root, _ := s.fleet(6)
	s.Get("manifests", root.Digest)
	decoded := s.options.Memory.decoded
	for i := range 64 {
		if m, ok := decoded.TakeFree(tenant{caller: callers.Caller{Username: fmt.Sprint(i)}}, decoded.Free()/2); ok {
			t.Cleanup(m.Release)
		}
	}
	if got := s.Get("manifests", root.Digest); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}
