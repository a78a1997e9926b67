package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// fleet is a bundle of images in org/app/web, all of which share a layer, and what a client would ask for.
func (s *scene) fleet(images int) (root ocispec.Descriptor, members []ocispec.Descriptor) {
	base := registrytest.TarLayer(map[string]string{"base": "1"})
	for i := range images {
		web := s.registry.Image("org/app/web", base, registrytest.TarLayer(map[string]string{"web": fmt.Sprint(i)}))
		members = append(members, registrytest.Member(web, "web"))
	}
	root = s.registry.Index("org/app", members...)
	s.registry.Tag("org/app", "v1", root.Digest)
	return root, members
}

// content are the GET requests that were answered with content, by repository and reference.
func (s *scene) content() (lines []string) {
	for _, q := range s.registry.Log(registrytest.Method(http.MethodGet), func(q registrytest.Request) bool {
		return q.Status == http.StatusOK && q.Kind != registrytest.KindToken
	}) {
		lines = append(lines, q.Repository+" "+q.Reference)
	}
	slices.Sort(lines)
	return lines
}

// await waits until the registry has been asked for so much.
func (s *scene) await(content int) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(s.content()) < content {
		if time.Now().After(deadline) {
			s.t.Fatalf("the registry was asked for %q", s.content())
		}
		time.Sleep(time.Millisecond)
	}
}

// TestReadAheadAfterTwoMembers: after a client has asked for two members the rest is asked for without it, and each content once in all.
func TestReadAheadAfterTwoMembers(t *testing.T) {
	for _, mode := range []Mode{Node, Pod} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			s := newScene(t, mode)
			s.registry.Allow("pod", secret, "org/app", "org/app/web")
			s.user = map[Mode][2]string{Pod: {"pod", secret}}[mode]
			root, members := s.fleet(6)
			const all = 1 + 6 + 2*6 + 1 // index; manifests; configs and layers of their own; the shared one
			s.get("manifests", root.Digest)
			next := s.children(s.get("manifests", members[5].Digest).body)
			s.get("blobs", next[0].Digest) // it may be the only one that is wanted
			if got := s.content(); len(got) != 3 {
				t.Errorf("after the first member: %q", got)
			}
			next = append(next, s.children(s.get("manifests", members[4].Digest).body)...)
			s.await(all)
			s.had = map[digest.Digest]bool{next[0].Digest: true}
			for _, d := range append(next, members[:4]...) {
				s.fetch(d)
			}
			if got := s.content(); len(got) != all {
				t.Errorf("%d requests, want %d: %q", len(got), all, got)
			}
			want := map[string]int{"org/app": 1, "org/app/web": 1}
			for _, q := range s.registry.Log(registrytest.Of(registrytest.KindToken)) {
				for _, scope := range q.Scopes {
					want[strings.Split(scope, ":")[1]]--
				}
			}
			if want["org/app"] != 0 || want["org/app/web"] != 0 {
				t.Errorf("tokens %v", want)
			}
		})
	}
}

// TestReadAheadAsksOncePerClient: clients that ask in any order, several at a time, get everything, and the registry is asked for each
// content once for each of them at most.
func TestReadAheadAsksOncePerClient(t *testing.T) {
	s := newScene(t, Node)
	_, members := s.fleet(40)
	const clients = 3
	var all sync.WaitGroup
	for range clients {
		s.pullRoot()
		order := rand.Perm(len(members))
		for part := range slices.Chunk(order, 10) {
			all.Go(func() {
				for _, i := range part {
					s.fetch(members[i])
				}
			})
		}
	}
	all.Wait()
	asked := map[string]int{}
	for _, line := range s.content() {
		asked[line]++
	}
	for _, m := range members {
		if n := asked["org/app/web "+m.Digest.String()]; n < 1 || n > clients {
			t.Errorf("%s was asked for %d times", m.Digest, n)
		}
	}
}

func (s *scene) pullRoot() {
	s.t.Helper()
	head := s.do(http.MethodHead, "/v2/org/app/manifests/v1")
	s.get("manifests", digest.Digest(head.header.Get("Docker-Content-Digest")))
}

// TestReadAheadIsBounded: no more is asked for than there is room, and what a client leaves behind makes room again.
func TestReadAheadIsBounded(t *testing.T) {
	s := newScene(t, Node)
	s.options.Prefetch = 3
	s.start(filepath.Join(t.TempDir(), "locations"))
	_, members := s.fleet(20)
	s.pullRoot()
	s.fetch(members[0])
	s.get("manifests", members[1].Digest)
	s.awaitAhead(func(a *ahead) bool { return a.taken == 3 && s.idle(a) })
	const most = 1 + 4 + 1 + 3 // the root, a member, the manifest of another, room
	if got := s.content(); len(got) > most {
		t.Errorf("%d requests, at most %d: %q", len(got), most, got)
	}
	for _, m := range members[1:10] {
		s.fetch(m)
	}
	s.server.Config.Handler.(*Gateway).Close()
	s.awaitAhead(func(a *ahead) bool { return a.taken == 0 && a.known == 0 })
	s.pullRoot()
	for _, m := range members {
		s.fetch(m)
	}
}

// withAhead looks at what is fetched ahead, or changes it.
func (s *scene) withAhead(look func(*ahead)) {
	a := &s.server.Config.Handler.(*Gateway).ahead
	a.mu.Lock()
	defer a.mu.Unlock()
	look(a)
}

// awaitAhead waits until it is so.
func (s *scene) awaitAhead(so func(*ahead) bool) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for done := false; !done; time.Sleep(time.Millisecond) {
		s.withAhead(func(a *ahead) { done = so(a) })
		if time.Now().After(deadline) {
			s.t.Fatal("it does not come to that")
		}
	}
}

// idle reports whether nothing is on its way.
func (s *scene) idle(a *ahead) bool {
	for _, p := range a.pulls {
		if p.busy > 0 {
			return false
		}
	}
	return true
}

// TestReadAheadLeavesOutWhatIsNotWanted: what the client will not or may not ask for, what is large, and what is in the location cache, is not asked for.
func TestReadAheadLeavesOutWhatIsNotWanted(t *testing.T) {
	s := newScene(t, Node)
	_, members := s.fleet(4)
	noise := make([]byte, 256<<10+1)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	large := s.registry.Image("org/app/web", noise)
	other := s.registry.ImageFor(ocispec.Platform{OS: "plan9", Architecture: "mips"}, "org/app/web", registrytest.TarLayer(map[string]string{"p": "9"}))
	other.Platform = &ocispec.Platform{OS: "plan9", Architecture: "mips"}
	mine := platforms.DefaultSpec()
	large.Platform = &mine
	open := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"whose": "anybody's"}))
	open.Platform = nil
	members = append(members, registrytest.Member(large, "web"), registrytest.Member(other, "web"), registrytest.Member(open, "web"))
	root := s.registry.Index("org/app", members...)
	s.get("manifests", root.Digest)
	s.get("manifests", members[0].Digest)
	s.get("manifests", members[1].Digest)
	const manifests, configs, layers = 6, 6, 4 + 1
	s.await(1 + manifests + configs + layers)
	before := s.content()
	if slices.Contains(before, "org/app/web "+other.Digest.String()) {
		t.Error("another platform's member was asked for")
	}
	s.fetch(members[4])
	if got := s.content(); len(got) != len(before)+1 {
		t.Errorf("the large layer was asked for before: %q", before)
	}
	s.fetch(members[6])
	if got := s.content(); len(got) != len(before)+2 {
		t.Errorf("the layer of a member of no platform was asked for before: %q", before)
	}
	s.registry.ResetLog()
	s.withAhead(func(a *ahead) { a.pulls[right{repository: s.repository("org/app")}].forget() }) // but not the location cache
	s.get("manifests", root.Digest)
	for _, m := range members[:3] {
		s.get("manifests", m.Digest)
	}
	s.fetch(members[3])
	if got := s.content(); len(got) != 1+3+4 {
		t.Errorf("of what is known: %q", got)
	}
}

// TestReadAheadBeginsAnewForEachIndex: who goes through one index may want one member of the next.
func TestReadAheadBeginsAnewForEachIndex(t *testing.T) {
	s := newScene(t, Node)
	_, members := s.fleet(6)
	const whole = 3 // manifest, config and layer; one shared layer for all
	first, second := s.registry.Index("org/app", members[:3]...), s.registry.Index("org/app", members[3:]...)
	s.get("manifests", first.Digest)
	s.get("manifests", members[0].Digest)
	s.get("manifests", members[1].Digest)
	s.await(1 + 3*whole + 1)
	s.get("manifests", second.Digest)
	s.fetch(members[3])
	s.awaitAhead(s.idle)
	if got := s.content(); len(got) != 2+4*whole+1 {
		t.Errorf("%d requests: %q", len(got), got)
	}
	s.get("manifests", members[4].Digest)
	s.await(2 + 6*whole + 1)
}

// TestReadAheadIsForOneCaller: what was fetched with one caller's credentials is for nobody else, and what failed is asked for
// again by whom it concerns.
func TestReadAheadIsForOneCaller(t *testing.T) {
	s := newScene(t, Pod)
	s.registry.Allow("pod", secret, "org/app", "org/app/web")
	s.registry.Allow("parent only", secret, "org/app")
	_, members := s.fleet(4)
	denied := s.registry.Image("org/app/denied", registrytest.TarLayer(map[string]string{"x": "1"}))
	root := s.registry.Index("org/app", append(members, registrytest.Member(denied, "denied"))...)
	s.user = [2]string{"pod", secret}
	s.get("manifests", root.Digest)
	s.get("manifests", members[0].Digest)
	s.get("manifests", members[1].Digest)
	s.awaitAhead(s.idle)
	if got := s.get("manifests", denied.Digest); got.status != http.StatusForbidden {
		t.Errorf("denied: %+v", got)
	}
	for _, user := range []string{"parent only", "stranger"} {
		s.user = [2]string{user, secret}
		for range 2 {
			s.get("manifests", root.Digest)
			for _, m := range members {
				if got := s.get("manifests", m.Digest); got.status/100 != 4 {
					t.Errorf("%s: %+v", user, got)
				}
			}
		}
	}
	s.user = [2]string{"pod", secret}
	s.registry.Allow("pod", secret, "org/app", "org/app/web", "org/app/denied")
	if got := s.get("manifests", denied.Digest); got.status != http.StatusOK {
		t.Errorf("allowed by now: %+v", got)
	}
}
