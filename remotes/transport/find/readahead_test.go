package find

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// fleet is a bundle of images in org/app/web, all of which share a layer, and what a client would ask for.
func (s *scene) fleet(images int) (root ocispec.Descriptor, members []ocispec.Descriptor) {
	base := registrytest.TarLayer(map[string]string{"base": "1"})
	for i := range images {
		web := s.Registry.Image("org/app/web", base, registrytest.TarLayer(map[string]string{"web": fmt.Sprint(i)}))
		members = append(members, registrytest.Member(web, "web"))
	}
	root = s.Registry.Index("org/app", members...)
	s.Registry.Tag("org/app", "v1", root.Digest)
	return root, members
}

// content are the GET requests that were answered with content, by repository and reference.
func (s *scene) content() (lines []string) {
	for _, q := range s.Registry.Log(registrytest.Method(http.MethodGet), func(q registrytest.Request) bool {
		return q.Status == http.StatusOK && q.Kind != registrytest.KindToken
	}) {
		lines = append(lines, q.Repository+" "+q.Reference)
	}
	slices.Sort(lines)
	return lines
}

// await waits until the registry has been asked for so much.
func (s *scene) await(content int) {
	s.T.Helper()
	clienttest.Await(s.T, func() bool { return len(s.content()) >= content }, func() string { return fmt.Sprintf("the registry was asked for %q", s.content()) })
}

// TestReadAheadAfterTwoMembers: after a client has asked for two members the rest is asked for without it, and each content once in all.
func TestReadAheadAfterTwoMembers(t *testing.T) {
	t.Parallel()
	for _, mode := range []frontMode{node, pod} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			s := newScene(t, mode)
			s.Registry.Allow("pod", fronttest.Secret, "org/app", "org/app/web")
			s.User = map[frontMode][2]string{pod: {"pod", fronttest.Secret}}[mode]
			root, members := s.fleet(6)
			const all = 1 + 6 + 2*6 + 1 // index; manifests; configs and layers of their own; the shared one
			s.Get("manifests", root.Digest)
			next := s.Children(s.Get("manifests", members[5].Digest).Body)
			s.Get("blobs", next[0].Digest) // it may be the only one that is wanted
			if got := s.content(); len(got) != 3 {
				t.Errorf("after the first member: %q", got)
			}
			next = append(next, s.Children(s.Get("manifests", members[4].Digest).Body)...)
			s.await(all)
			s.Had = map[digest.Digest]bool{next[0].Digest: true}
			for _, d := range append(next, members[:4]...) {
				s.Fetch(d)
			}
			if got := s.content(); len(got) != all {
				t.Errorf("%d requests, want %d: %q", len(got), all, got)
			}
			want := map[string]int{"org/app": 1, "org/app/web": 1}
			for _, q := range s.Registry.Log(registrytest.Of(registrytest.KindToken)) {
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

// TestReadAheadIsForEachMachine: where callers keep what they get apart, what one has is read ahead for the next, whoever
// that is, and asked for once for each.
func TestReadAheadIsForEachMachine(t *testing.T) {
	t.Parallel()
	s := newApart(t, nil)
	root, members := s.fleet(6)
	for i, user := range []string{"one", "one", "two", "one"} {
		s.Registry.Allow(user, fronttest.Secret, "org/app", "org/app/web")
		s.User = [2]string{user, fronttest.Secret}
		s.pullFleet(root, members, i+1)
	}
	asked := map[string]int{}
	for _, line := range s.content() {
		asked[line]++
	}
	for line, n := range asked {
		if n != 4 {
			t.Errorf("%s: asked for %d times", line, n)
		}
	}
}

// TestReadAheadAsksOncePerClient: clients that ask in any order, several at a time, get everything, and the registry is asked for each
// content once for each of them at most.
func TestReadAheadAsksOncePerClient(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	_, members := s.fleet(40)
	const clients = 3
	var all sync.WaitGroup
	for range clients {
		s.pullRoot()
		order := rand.Perm(len(members))
		for part := range slices.Chunk(order, 10) {
			all.Go(func() {
				for _, i := range part {
					s.Fetch(members[i])
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
	s.T.Helper()
	head := s.Do(http.MethodHead, "/v2/org/app/manifests/v1")
	s.Get("manifests", digest.Digest(head.Header.Get("Docker-Content-Digest")))
}

// TestReadAheadIsBounded: no more is asked for than there is room, and what a client leaves behind makes room again.
func TestReadAheadIsBounded(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.options.Prefetch = 3
	s.start(filepath.Join(t.TempDir(), "locations"))
	_, members := s.fleet(20)
	s.pullRoot()
	s.Fetch(members[0])
	s.Get("manifests", members[1].Digest)
	s.awaitReadAhead(func(a *readAhead) bool { return a.outstanding == 3 && s.idle(a) })
	const most = 1 + 4 + 1 + 3 // the root, a member, the manifest of another, room
	if got := s.content(); len(got) > most {
		t.Errorf("%d requests, at most %d: %q", len(got), most, got)
	}
	for _, m := range members[1:10] {
		s.Fetch(m)
	}
	s.Server.Config.Handler.(*front).Close()
	s.awaitReadAhead(func(a *readAhead) bool { return a.outstanding == 0 && a.items == 0 })
	s.pullRoot()
	for _, m := range members {
		s.Fetch(m)
	}
}

// withReadAhead looks at what is read ahead, or changes it.
func (s *scene) withReadAhead(look func(*readAhead)) {
	a := &s.Server.Config.Handler.(*front).readAhead
	a.mu.Lock()
	defer a.mu.Unlock()
	look(a)
}

// awaitReadAhead waits until it is so.
func (s *scene) awaitReadAhead(so func(*readAhead) bool) {
	s.T.Helper()
	clienttest.Await(s.T, func() (done bool) {
		s.withReadAhead(func(a *readAhead) { done = so(a) })
		return done
	}, func() string { return "it does not come to that" })
}

// idle reports whether nothing is on its way.
func (s *scene) idle(a *readAhead) bool {
	for _, p := range a.pulls {
		if p.fetching > 0 {
			return false
		}
	}
	return true
}

// TestReadAheadLeavesOutWhatIsNotWanted: what the client will not or may not ask for, what is large, and what is in the location cache, is not asked for.
func TestReadAheadLeavesOutWhatIsNotWanted(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	_, members := s.fleet(4)
	noise := make([]byte, 256<<10+1)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	large := s.Registry.Image("org/app/web", noise)
	other := s.Registry.ImageFor(ocispec.Platform{OS: "plan9", Architecture: "mips"}, "org/app/web", registrytest.TarLayer(map[string]string{"p": "9"}))
	other.Platform = &ocispec.Platform{OS: "plan9", Architecture: "mips"}
	mine := platforms.DefaultSpec()
	large.Platform = &mine
	open := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"whose": "anybody's"}))
	open.Platform = nil
	members = append(members, registrytest.Member(large, "web"), registrytest.Member(other, "web"), registrytest.Member(open, "web"))
	root := s.Registry.Index("org/app", members...)
	s.Get("manifests", root.Digest)
	s.Get("manifests", members[0].Digest)
	s.Get("manifests", members[1].Digest)
	const manifests, configs, layers = 6, 6, 4 + 1
	s.await(1 + manifests + configs + layers)
	before := s.content()
	if slices.Contains(before, "org/app/web "+other.Digest.String()) {
		t.Error("another platform's member was asked for")
	}
	s.Fetch(members[4])
	if got := s.content(); len(got) != len(before)+1 {
		t.Errorf("the large layer was asked for before: %q", before)
	}
	s.Fetch(members[6])
	if got := s.content(); len(got) != len(before)+2 {
		t.Errorf("the layer of a member of no platform was asked for before: %q", before)
	}
	s.Registry.ResetLog()
	s.withReadAhead(func(a *readAhead) { a.pulls[tenant{repository: s.repository("org/app")}].forget() }) // but not the location cache
	s.Get("manifests", root.Digest)
	for _, m := range members[:3] {
		s.Get("manifests", m.Digest)
	}
	s.Fetch(members[3])
	if got := s.content(); len(got) != 1+3+4 {
		t.Errorf("of what is known: %q", got)
	}
}

// TestReadAheadBeginsAnewForEachIndex: who goes through one index may want one member of the next.
func TestReadAheadBeginsAnewForEachIndex(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	_, members := s.fleet(6)
	const whole = 3 // manifest, config and layer; one shared layer for all
	first, second := s.Registry.Index("org/app", members[:3]...), s.Registry.Index("org/app", members[3:]...)
	s.Get("manifests", first.Digest)
	s.Get("manifests", members[0].Digest)
	s.Get("manifests", members[1].Digest)
	s.await(1 + 3*whole + 1)
	s.Get("manifests", second.Digest)
	s.Fetch(members[3])
	s.awaitReadAhead(s.idle)
	if got := s.content(); len(got) != 2+4*whole+1 {
		t.Errorf("%d requests: %q", len(got), got)
	}
	s.Get("manifests", members[4].Digest)
	s.await(2 + 6*whole + 1)
}

// TestReadAheadIsForOneCaller: what was fetched with one caller's credentials is for nobody else, and what failed is asked for
// again by whom it concerns.
func TestReadAheadIsForOneCaller(t *testing.T) {
	t.Parallel()
	s := newScene(t, pod)
	s.Registry.Allow("pod", fronttest.Secret, "org/app", "org/app/web")
	s.Registry.Allow("parent only", fronttest.Secret, "org/app")
	_, members := s.fleet(4)
	denied := s.Registry.Image("org/app/denied", registrytest.TarLayer(map[string]string{"x": "1"}))
	root := s.Registry.Index("org/app", append(members, registrytest.Member(denied, "denied"))...)
	s.User = [2]string{"pod", fronttest.Secret}
	s.Get("manifests", root.Digest)
	s.Get("manifests", members[0].Digest)
	s.Get("manifests", members[1].Digest)
	s.awaitReadAhead(s.idle)
	if got := s.Get("manifests", denied.Digest); got.Status != http.StatusForbidden {
		t.Errorf("denied: %+v", got)
	}
	for _, user := range []string{"parent only", "stranger"} {
		s.User = [2]string{user, fronttest.Secret}
		for range 2 {
			s.Get("manifests", root.Digest)
			for _, m := range members {
				if got := s.Get("manifests", m.Digest); got.Status/100 != 4 {
					t.Errorf("%s: %+v", user, got)
				}
			}
		}
	}
	s.User = [2]string{"pod", fronttest.Secret}
	s.Registry.Allow("pod", fronttest.Secret, "org/app", "org/app/web", "org/app/denied")
	if got := s.Get("manifests", denied.Digest); got.Status != http.StatusOK {
		t.Errorf("allowed by now: %+v", got)
	}
}
