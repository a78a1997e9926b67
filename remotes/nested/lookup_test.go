package nested_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestSameDigestUnderSeveralNamespaces: a digest that is listed with several
// child namespaces is asked for in order, the parent last and only when all
// others answered 404.
func TestSameDigestUnderSeveralNamespaces(t *testing.T) {
	for _, test := range []struct {
		a, b, parent int // what the repositories answer
		asked        []string
		class        func(error) bool // of the error, when there is one
	}{
		{200, 200, 200, []string{"/a"}, nil},
		{404, 200, 200, []string{"/a", "/b"}, nil},
		{403, 200, 200, []string{"/a", "/b"}, nil},
		{401, 200, 200, []string{"/a", "/b"}, nil},
		{404, 404, 200, []string{"/a", "/b", ""}, nil},
		{404, 404, 404, []string{"/a", "/b", ""}, errdefs.IsNotFound},
		{404, 404, 403, []string{"/a", "/b", ""}, errdefs.IsPermissionDenied},
		{403, 404, 200, []string{"/a", "/b"}, errdefs.IsPermissionDenied},
		{404, 403, 200, []string{"/a", "/b"}, errdefs.IsPermissionDenied},
		{403, 403, 200, []string{"/a", "/b"}, errdefs.IsPermissionDenied},
		{401, 401, 200, []string{"/a", "/b"}, errdefs.IsPermissionDenied},
		{500, 200, 200, []string{"/a"}, nil},
	} {
		t.Run(fmt.Sprintf("%d %d %d", test.a, test.b, test.parent), func(t *testing.T) {
			s := newScene(t, nested.Options{})
			member := clienttest.NewImage("member", "layer")
			s.answer(member, "/a", test.a)
			s.answer(member, "/b", test.b)
			s.answer(member, "", test.parent)
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
				registrytest.Member(member.Descriptor, "a"), registrytest.Member(member.Descriptor, "b"))))
			if got := s.repositoriesAsked(member.Digest); !slices.Equal(got, test.asked) {
				t.Errorf("asked %q, want %q", got, test.asked)
			}
			switch {
			case test.class != nil:
				s.wantAttempts(err, member.Digest, test.asked, test.class)
			case test.a == 500:
				clienttest.WantError(t, err, "child "+s.registry.Host()+"/"+parent+"/a@", "500")
			default:
				clienttest.NoError(t, err)
				s.wantBlobsIn(parent + test.asked[len(test.asked)-1])
			}
		})
	}
}

// TestSameIndexUnderSeveralNamespaces: what an index holds that is listed with
// several child namespaces is looked for below each of them, first below the
// one that served it.
func TestSameIndexUnderSeveralNamespaces(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/b/c", "layer")
	index := clienttest.IndexOf(registrytest.Member(member.Descriptor, "c"))
	s.registry.Put(parent+"/b", ocispec.MediaTypeImageIndex, index)
	inner := s.registry.Put(parent+"/a", ocispec.MediaTypeImageIndex, index)
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(inner, "a"), registrytest.Member(inner, "b")))))
	if got, want := s.repositoriesAsked(member.Digest), []string{"/a/c", "/b/c"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	s.wantBlobsIn(parent + "/b/c")
}

// answer lets a repository below the parent serve an image or refuse it.
func (s *scene) answer(i clienttest.Image, suffix string, status int) {
	repository := parent + suffix
	header := http.Header{}
	switch status {
	case http.StatusOK:
		i.In(s.registry, repository)
		return
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="`+s.registry.Realm()+`",service="registrytest",error="insufficient_scope"`)
	}
	about := func(q registrytest.Request) bool {
		return q.Reference == i.Digest.String() && (status != http.StatusUnauthorized || q.Scheme != "")
	}
	s.registry.Intercept(registrytest.Answer(status, header, registrytest.In(repository), about))
}

// repositoriesAsked lists the repositories below the parent that were asked
// for content, each once, in order.
func (s *scene) repositoriesAsked(d digest.Digest) []string {
	var suffixes []string
	for _, q := range s.registry.Log() {
		suffix := strings.TrimPrefix(q.Repository, parent)
		if q.Reference == d.String() && !slices.Contains(suffixes, suffix) {
			suffixes = append(suffixes, suffix)
		}
	}
	return suffixes
}

// wantBlobsIn fails when blobs were found elsewhere, or were asked for
// elsewhere after a target had served their manifest.
func (s *scene) wantBlobsIn(repository string) {
	s.t.Helper()
	for _, q := range s.registry.Log(registrytest.Of(registrytest.KindBlob)) {
		if q.Repository != repository && (q.Status == 200 || repository != parent) {
			s.t.Errorf("asked for a blob in %s", q.Repository)
		}
	}
}

// wantAttempts looks at the error about content that no repository gave.
func (s *scene) wantAttempts(err error, d digest.Digest, asked []string, class func(error) bool) {
	s.t.Helper()
	var failed *nested.Error
	if !errors.As(err, &failed) || !class(err) {
		s.t.Fatalf("got %v", err)
	}
	at := s.registry.Host() + "/" + parent
	if failed.Digest != d || failed.Parent.String() != at || failed.Target.String() != at+asked[0] {
		s.t.Errorf("the error is about %s in %s below %s", failed.Digest, failed.Target, failed.Parent)
	}
	if len(failed.Attempts) != len(asked) {
		s.t.Errorf("%d attempts, want %q", len(failed.Attempts), asked)
	}
	for i, a := range failed.Attempts {
		if a.Repository.String() != at+asked[i] {
			s.t.Errorf("attempt %d was at %s", i, a.Repository)
		}
		answer := "not found"
		if errdefs.IsPermissionDenied(a.Err) {
			answer = "denied"
		}
		clienttest.WantError(s.t, err, a.Repository.String()+": "+answer)
	}
}

// TestParentHoldsACopy: a member that is missing at its target is taken from
// the parent, and is still at its target: what belongs to it is asked for
// there first, then where the copy was.
func TestParentHoldsACopy(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.NewImage("member", "layer")
	member.ManifestIn(s.registry, parent)
	s.registry.PutBlob(parent+"/a", member.Config.MediaType, member.Bytes[member.Config.Digest])
	s.registry.PutBlob(parent, member.Layers[0].MediaType, member.Bytes[member.Layers[0].Digest])
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "a")))))
	s.want(clienttest.TagGet(parent),
		clienttest.Gets(parent+"/a", 404, member.Descriptor), clienttest.Gets(parent, 200, member.Descriptor),
		clienttest.Gets(parent+"/a", 200, member.Config),
		clienttest.Gets(parent+"/a", 404, member.Layers[0]), clienttest.Gets(parent, 200, member.Layers[0]))
}

// TestCopyOfAnIndex: the child namespaces of an index that came from the
// parent are those of its target, and the parent comes last.
func TestCopyOfAnIndex(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent, "layer")
	inner := s.registry.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "b")))
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(inner, "a")))))
	s.want(clienttest.TagGet(parent),
		clienttest.Gets(parent+"/a", 404, inner), clienttest.BlobGets(parent+"/a", 404, inner), clienttest.Gets(parent, 200, inner),
		clienttest.Gets(parent+"/a/b", 404, member.Descriptor), clienttest.Gets(parent+"/a", 404, member.Descriptor), clienttest.Gets(parent, 200, member.Descriptor),
		clienttest.Gets(parent+"/a/b", 404, member.Parts()...), member.Blobs(parent))
}

// TestIndexStoredAsABlob: a strict registry keeps an index that is a member as
// a blob of its target.
func TestIndexStoredAsABlob(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/a/b", "layer")
	index := clienttest.IndexOf(registrytest.Member(member.Descriptor, "b"))
	inner := s.registry.PutBlob(parent+"/a", ocispec.MediaTypeImageIndex, index)
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(inner, "a")))))
	s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/a", 404, inner), clienttest.BlobGets(parent+"/a", 200, inner), member.All(parent+"/a/b"))
}

// TestMissingEverywhere: both answers are in the error, the target's
// first.
func TestMissingEverywhere(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.NewImage("member", "layer")
	err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "a"))))
	s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/a", 404, member.Descriptor), clienttest.Gets(parent, 404, member.Descriptor))
	s.wantAttempts(err, member.Digest, []string{"/a", ""}, errdefs.IsNotFound)
	clienttest.WantError(t, err, fmt.Sprintf("child %s/%s/a@sha256:%.12s: ", s.registry.Host(), parent, member.Digest.Encoded()))
}

// TestCandidatesAreBounded: eight repositories are asked for one digest.
func TestCandidatesAreBounded(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.NewImage("member", "layer")
	var entries []ocispec.Descriptor
	var want []string
	for i := range 12 {
		child := fmt.Sprint("c", i)
		entries = append(entries, registrytest.Member(member.Descriptor, child))
		if i < 8 {
			want = append(want, "/"+child)
		}
	}
	err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(entries...)))
	if got := s.repositoriesAsked(member.Digest); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	s.wantAttempts(err, member.Digest, want, errdefs.IsNotFound)
}

// TestDuplicateEntries: what many entries point to is fetched once.
func TestDuplicateEntries(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/a/a/a", "layer")
	level := func(repository string, d ocispec.Descriptor) ocispec.Descriptor {
		return s.registry.Put(repository, ocispec.MediaTypeImageIndex,
			clienttest.IndexOf(slices.Repeat([]ocispec.Descriptor{registrytest.Member(d, "a")}, 10)...))
	}
	third := level(parent+"/a/a", member.Descriptor)
	second := level(parent+"/a", third)
	root := level(parent, second)
	s.registry.Tag(parent, "v1", root.Digest)
	clienttest.NoError(t, s.pull(root))
	s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/a", 200, second), clienttest.Gets(parent+"/a/a", 200, third), member.All(parent+"/a/a/a"))
}
