package nested_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

func TestAcceptedNamespaces(t *testing.T) {
	for _, child := range []string{
		"child", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "0", "9/z", "evil.test/x", "manifests", "blobs/uploads",
		"longest",
	} {
		t.Run(child, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			if child == "longest" {
				child = strings.Repeat("a", 255-len(s.registry.Host()+"/"+parent+"/"))
			}
			member := clienttest.PutImage(s.registry, parent+"/"+child, "layer")
			clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, child)))))
			s.want(clienttest.TagGet(parent), member.All(parent+"/"+child))
			scope := "repository:" + parent + "/" + child + ":pull"
			if n := s.registry.Count(registrytest.Of(registrytest.KindToken), func(q registrytest.Request) bool {
				return slices.Equal(q.Scopes, []string{scope})
			}); n != 1 {
				t.Errorf("%d tokens with the scope %s", n, scope)
			}
		})
	}
}

func TestRefusedNamespaces(t *testing.T) {
	for _, child := range []string{
		"", ".", "..", "../x", "x/..", "x/../y", "/x", "x/", "x//y", "./x", "X", "é", "x y", "x\ty", "x\n", "x\r", "x\x00",
		"x:y", "x@sha256:" + strings.Repeat("a", 64), "x?y=1", "x#f", "x%2ey", "%2e%2e/x", `x\y`, "http://evil/x", "//evil/x",
		"evil.test:5000/x", "-x", "x-", "_x", "x..y", "x___y", "x.-y",
		"ａ", "x\u200b", "\u202ex", "e\u0301", "\x1b[31m", "x\u2028y", "\u0131", "\u212a",
		strings.Repeat("a", 255),
	} {
		t.Run(name(child), func(t *testing.T) {
			refused(t, child)
		})
	}
}

// name is a subtest's name.
func name(s string) string {
	if len(s) > 20 {
		return s[:20]
	}
	return s
}

// refused pulls an index whose second entry states a child namespace, and
// wants nothing to be asked for but the index.
func refused(t *testing.T, child string) nested.InvalidError {
	t.Helper()
	s := newScene(t, nested.Options{})
	good := clienttest.PutImage(s.registry, parent+"/good", "layer")
	bad := clienttest.PutImage(s.registry, parent+"/bad", "layer")
	root := s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(good.Descriptor, "good"), registrytest.Member(bad.Descriptor, child)))
	err := s.pull(root)
	invalid := wantInvalid(t, err, 1)
	if invalid.Digest != root.Digest || invalid.In.String() != s.registry.Host()+"/"+parent {
		t.Errorf("the error is about %s in %s", invalid.Digest, invalid.In)
	}
	s.want(clienttest.TagGet(parent))
	if got := s.source.names(); !slices.Equal(got, []string{parent}) {
		t.Errorf("credentials were looked up for %q", got)
	}
	return invalid
}

// wantInvalid fails unless the error is about that element of manifests[],
// on one line of ASCII.
func wantInvalid(t *testing.T, err error, position int) nested.InvalidError {
	t.Helper()
	var invalid *nested.InvalidError
	if !errors.As(err, &invalid) || invalid.Position != position || !errdefs.IsInvalidArgument(err) {
		t.Fatalf("got %v, want an InvalidError about position %d", err, position)
	}
	if strings.ContainsFunc(strings.ReplaceAll(err.Error(), "…", ""), func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("error with raw characters: %q", err)
	}
	return *invalid
}

func TestRefusedNamespaceIsShownEscapedAndCut(t *testing.T) {
	for child, shown := range map[string]string{
		"\x1b[31m\n\u202e":               `"\x1b[31m\n\u202e"`,
		"X" + strings.Repeat("y", 63):    `"X` + strings.Repeat("y", 63) + `"`,
		"X" + strings.Repeat("y", 64):    `"X` + strings.Repeat("y", 63) + `"…`,
		"X" + strings.Repeat("y", 1<<20): `"X` + strings.Repeat("y", 63) + `"…`,
	} {
		invalid := refused(t, child)
		if text := invalid.Error(); !strings.Contains(text, "manifests[1]: child namespace "+shown+":") || len(text) > 400 {
			t.Errorf("error %.500q does not show %s", text, shown)
		}
	}
}

func TestHugeNamespaceIsNotCopied(t *testing.T) {
	huge := strings.Repeat("a/", 1<<20) + "a"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := nested.ParseChild(huge)
	runtime.ReadMemStats(&after)
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("got %.300v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func TestTargetKeepsHostAndPort(t *testing.T) {
	for _, in := range []string{"127.0.0.1:5000/p", "[::1]:5000/p", "reg.test:443/p", "docker.io/library/p", "localhost/p"} {
		child := clienttest.Must(nested.ParseChild("a/b"))
		if target := clienttest.Must(child.In(clienttest.Repository(t, in))); target.String() != in+"/a/b" {
			t.Errorf("a/b in %s is %s", in, target)
		}
	}
}
