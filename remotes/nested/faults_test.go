package nested_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// layered is a scene with a bundle of one member that has one layer of a hundred thousand bytes, and the filter for
// requests for the layer that a token came with.
func layered(t *testing.T) (s *scene, root ocispec.Descriptor, layer ocispec.Descriptor, ofLayer registrytest.Filter) {
	t.Helper()
	s = newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/web", strings.Repeat("0123456789", 10_000))
	root = s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))
	layer = member.Layers[0]
	return s, root, layer, func(q registrytest.Request) bool {
		return q.Reference == layer.Digest.String() && q.Authorization != ""
	}
}

// TestBrokenAnywhere: wherever a connection breaks, the rest is asked for.
func TestBrokenAnywhere(t *testing.T) {
	for _, at := range []int{0, 1, 50_000, 99_999} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			s, root, layer, ofLayer := layered(t)
			s.registry.Intercept(s.registry.Truncate(at, registrytest.First(1, ofLayer)))
			clienttest.NoError(t, s.pull(root))
			log := s.registry.Log(ofLayer)
			if len(log) != 2 || at > 0 && log[1].Range != fmt.Sprintf("bytes=%d-", at) || !clienttest.Stored(s.store, layer) {
				t.Errorf("asked %v", log)
			}
		})
	}
}

// TestAlwaysBroken: answers that break off again and again add up when each brings something, and are given up when
// they bring nothing.
func TestAlwaysBroken(t *testing.T) {
	for _, test := range []struct {
		piece int
		fine  bool
		most  int // requests
	}{{1000, true, 101}, {0, false, 10}} {
		t.Run(fmt.Sprint(test.piece), func(t *testing.T) {
			s, root, layer, ofLayer := layered(t)
			s.registry.Intercept(s.registry.Truncate(test.piece, ofLayer))
			err := s.pull(root)
			if test.fine != (err == nil) || clienttest.Stored(s.store, layer) != test.fine {
				t.Errorf("got %v, stored: %t", err, clienttest.Stored(s.store, layer))
			}
			if n := s.registry.Count(ofLayer); n > test.most {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestRangesIgnored: a registry that answers with the whole from its beginning, whatever is asked for, is read on from where
// the connection broke. When it never comes further it is given up, not at once.
func TestRangesIgnored(t *testing.T) {
	for _, always := range []bool{false, true} {
		t.Run(fmt.Sprint(always), func(t *testing.T) {
			t.Parallel()
			s, root, layer, ofLayer := layered(t)
			s.registry.Intercept(registrytest.IgnoreRange())
			breaks := []registrytest.Filter{ofLayer}
			if !always {
				breaks = append(breaks, registrytest.First(1))
			}
			s.registry.Intercept(s.registry.Truncate(1000, breaks...))
			err := s.pull(root)
			took, n := s.pauses.Sum(), s.registry.Count(ofLayer)
			if always {
				clienttest.WantError(t, err, "child "+s.registry.Host()+"/"+parent+"/web@", "unexpected EOF")
				if n < 3 || n > 30 || took < 500*time.Millisecond || took > time.Minute || clienttest.Stored(s.store, layer) {
					t.Errorf("%d requests in %v", n, took)
				}
				return
			}
			if err != nil || n != 2 || !clienttest.Stored(s.store, layer) {
				t.Errorf("got %v after %d requests", err, n)
			}
		})
	}
}

// TestRegistryIsBusy: what passes does not end a pull, what does not is told.
func TestRegistryIsBusy(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s, root, layer, ofLayer := layered(t)
			s.registry.Intercept(registrytest.Answer(status, http.Header{"Retry-After": {"1"}}, registrytest.First(2, ofLayer)))
			clienttest.NoError(t, s.pull(root))
			if took := s.pauses.Sum(); took < 2*time.Second || s.registry.Count(ofLayer) != 3 || !clienttest.Stored(s.store, layer) {
				t.Errorf("%d requests in %v", s.registry.Count(ofLayer), took)
			}
		})
	}
	s, root, _, ofLayer := layered(t)
	s.registry.Intercept(registrytest.Answer(http.StatusTooManyRequests, http.Header{"Retry-After": {"86400"}}, ofLayer))
	err := s.pull(root)
	clienttest.WantError(t, err, "child "+s.registry.Host()+"/"+parent+"/web@", "429", "asking to wait for 24h0m0s")
	if n := s.registry.Count(ofLayer); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestSlowLayer: a registry that is slow but steady is waited for.
func TestSlowLayer(t *testing.T) {
	t.Parallel()
	s, root, layer, ofLayer := layered(t)
	s.registry.Intercept(s.registry.Trickle(10_000, 50*time.Millisecond, ofLayer))
	clienttest.NoError(t, s.pull(root))
	if !clienttest.Stored(s.store, layer) {
		t.Error("the layer is not stored")
	}
}

// TestShortTokens: tokens that live a second are renewed during a pull that takes longer.
func TestShortTokens(t *testing.T) {
	t.Parallel()
	s := newScene(t, nested.Options{})
	s.registry = clienttest.NewRegistry(t, registrytest.WithTokenAuth(), registrytest.TokenLifetime(time.Second))
	s.registry.Allow("all", "secret", "*")
	s.source = &lookups{Source: clienttest.UserPassword(t, s.registry.Host(), "all", "secret")}
	s.resolver = nested.New(s.registries(), nested.Options{})
	var layers []string
	for i := range 20 {
		layers = append(layers, fmt.Sprint("layer ", i))
	}
	member := clienttest.PutImage(s.registry, parent+"/web", layers...)
	s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))
	s.registry.Intercept(s.registry.Delay(100*time.Millisecond, registrytest.Of(registrytest.KindBlob)))
	ctx := context.Background()
	fetcher, root := begin(ctx, t, s.resolver, s.registry.Host()+"/"+parent+":v1")
	handlers := images.Handlers(remotes.FetchHandler(s.store, fetcher), images.ChildrenHandler(s.store))
	clienttest.NoError(t, images.Dispatch(ctx, handlers, semaphore.NewWeighted(1), root))
	if n := s.registry.Count(registrytest.Of(registrytest.KindToken)); n < 3 || n > 12 {
		t.Errorf("%d tokens", n)
	}
	for _, d := range member.Layers {
		if !clienttest.Stored(s.store, d) {
			t.Errorf("%s is not stored", d.Digest)
		}
	}
}

// TestTheFaultIsNotKept: a pull that failed because of the registry succeeds afterwards, with the same resolver.
func TestTheFaultIsNotKept(t *testing.T) {
	s, root, layer, ofLayer := layered(t)
	s.registry.Intercept(registrytest.Reset(ofLayer))
	if err := s.pull(root); err == nil {
		t.Fatal("it is pulled")
	}
	s.registry.ResetIntercepts()
	if err := s.pull(root); err != nil || !clienttest.Stored(s.store, layer) {
		t.Errorf("got %v", errors.Unwrap(err))
	}
}

// TestSlotIsReleased: a layer that never comes, or that nobody waits for any more, keeps no other from being fetched where
// one is fetched at a time.
func TestSlotIsReleased(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(*scene, registrytest.Filter) registrytest.Interceptor
	}{
		{"reset", func(_ *scene, f registrytest.Filter) registrytest.Interceptor { return registrytest.Reset(f) }},
		{"broken", func(s *scene, f registrytest.Filter) registrytest.Interceptor { return s.registry.Truncate(0, f) }},
		{"no headers", func(s *scene, f registrytest.Filter) registrytest.Interceptor { return s.registry.Stall(f) }},
		{"no more", func(s *scene, f registrytest.Filter) registrytest.Interceptor { return s.registry.StallAt(1000, f) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, _, layer, ofLayer := layered(t)
			limiter := semaphore.NewWeighted(1)
			s.resolver.SetOptions(transfer.WithDownloadLimiter(limiter))
			ctx := s.pauses.In(t.Context())
			fetcher, root := begin(ctx, t, s.resolver, s.registry.Host()+"/"+parent+":v1")
			clienttest.NoError(t, remotes.Fetch(ctx, s.store, fetcher, root))
			s.registry.Intercept(test.fault(s, ofLayer))
			patience, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			if err := remotes.Fetch(patience, s.store, fetcher, layer); err == nil {
				t.Error("it is fetched")
			}
			if !limiter.TryAcquire(1) {
				t.Fatal("the slot is taken")
			}
			limiter.Release(1)
			s.registry.ResetIntercepts()
			clienttest.NoError(t, remotes.Fetch(ctx, s.store, fetcher, layer))
		})
	}
}

// TestBrokenStreams: a stream of HTTP/2 that is reset in a body, of whatever is pulled, is asked for again from there, a bounded
// number of times; of a plain image as of a bundle.
func TestBrokenStreams(t *testing.T) {
	for _, kind := range []registrytest.Kind{registrytest.KindManifest, registrytest.KindBlob} {
		for _, plain := range []bool{true, false} {
			for breaks, at := range map[int]int{1: 20, 1000: 0} {
				t.Run(fmt.Sprintf("%s of plain %t, %d times", kind, plain, breaks), func(t *testing.T) {
					t.Parallel()
					reg := clienttest.NewRegistry(t, registrytest.WithHTTP2())
					root := clienttest.PutImage(reg, parent, strings.Repeat("layer", 1000)).Descriptor
					if !plain {
						member := clienttest.PutImage(reg, parent+"/web", strings.Repeat("layer", 1000))
						root = reg.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))
					}
					reg.Tag(parent, "v1", root.Digest)
					reg.Intercept(reg.Truncate(at, registrytest.Of(kind), registrytest.Method(http.MethodGet), registrytest.First(breaks)))
					registries := clienttest.NewClient(t, registry.Options{HostsDir: clienttest.Trusting(t, reg.Host(), reg.CA())})
					// As nestctl asks, and as the plugin does, which resolves with HEAD.
					for _, base := range []remotes.Resolver{registries, struct{ remotes.ResolverWithOptions }{registries}} {
						_, err := clienttest.Pull(nested.New(base, nested.Options{}), clienttest.NewStore(t), reg.Host()+"/"+parent+":v1")
						if (breaks == 1) != (err == nil) {
							t.Errorf("got %v", err)
						}
					}
					if n := reg.Count(); n > 100 {
						t.Errorf("%d requests", n)
					}
				})
			}
		}
	}
}
