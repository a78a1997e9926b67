package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestChildNamespaces shows child namespaces at the command line: those that
// are none are refused before a member is asked for, and every request of the
// others stays below the parent.
func TestChildNamespaces(t *testing.T) {
	good := []string{
		"child", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "0", "9/z", "evil.test/x", "a/b/c/d/e/f",
		strings.Repeat("x", 200),
	}
	bad := []string{
		"", ".", "..", "../x", "x/..", "x/../y", "/x", "x/", "x//y", "./x", "X", "é", "x y", "x\ty", "x\ny", "x\r", "x\x00",
		"x:y", "x@sha256:" + strings.Repeat("0", 64), "x?y=1", "x#f", "x%2ey", "%2e%2e/x", `x\y`, "http://evil/x", "//evil/x",
		"evil.test:5000/x", "-x", "x-", "_x", "x..y", "x___y", "x.-y", "ｘ", "x\u200b", "\u202ex", "e\u0301", "\x1b[31m",
		strings.Repeat("x", 256), strings.Repeat("x", 1<<20),
	}
	ownCredentials(t)
	for _, namespace := range good {
		testNamespace(t, namespace, 0)
	}
	for _, namespace := range bad {
		testNamespace(t, namespace, invalid)
	}
}

// ownCredentials keeps the credentials of whoever runs the tests out of them.
func ownCredentials(t *testing.T) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, name := range []string{"DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, "")
	}
}

func testNamespace(t *testing.T, namespace string, want int) {
	t.Run(fmt.Sprintf("%.20q", namespace), func(t *testing.T) {
		r := clienttest.NewPublicRegistry(t)
		image := r.Image("org/app/"+namespace, []byte("layer"))
		r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(image, namespace)).Digest)
		var stdout, stderr bytes.Buffer
		args := []string{"tree", "--plain-http", "--hosts-dir=", r.Host() + "/org/app:v1"}
		if got := run(t.Context(), args, &stdout, &stderr); got != want {
			t.Errorf("exit status %d, want %d: %s", got, want, &stderr)
		}
		checkError(t, stderr.String())
		for _, q := range r.Log(registrytest.Of(registrytest.KindManifest)) {
			if q.Repository != "org/app" && (want != 0 || q.Repository != "org/app/"+namespace) {
				t.Errorf("asked for %s", q)
			}
		}
		tokens := 2
		if want != 0 {
			tokens = 1
		}
		if n := r.Count(registrytest.Of(registrytest.KindToken)); n != tokens {
			t.Errorf("%d tokens, want %d", n, tokens)
		}
	})
}

// checkError wants nothing, or a line without control characters that is not
// too long to read.
func checkError(t *testing.T, message string) {
	t.Helper()
	if message == "" {
		return
	}
	line, rest, _ := strings.Cut(message, "\n")
	if !strings.HasPrefix(line, "nestctl: ") || rest != "" || len(line) > 1000 || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("not a readable line: %.2000q", message)
	}
}

// TestLongReference: host and name have 255 characters at most.
func TestLongReference(t *testing.T) {
	r := checkScene(t)
	longest := strings.Repeat("x", 255-len(r.Host()+"/org/"))
	for name, want := range map[string]int{longest: 0, longest + "x": invalid} {
		image := r.Image("org/"+name, []byte("layer"))
		r.Tag("org", "v1", r.Index("org", registrytest.Member(image, name)).Digest)
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), []string{"tree", "--plain-http", "--hosts-dir=", r.Host() + "/org:v1"}, &stdout, &stderr); got != want {
			t.Errorf("%d characters: exit status %d, want %d: %s", len(r.Host()+"/org/"+name), got, want, &stderr)
		}
	}
}

// TestBadDigests: digests that are none are refused before they become part
// of a URL or a path.
func TestBadDigests(t *testing.T) {
	ownCredentials(t)
	hex := strings.Repeat("a", 64)
	for _, d := range []string{
		"", "sha256:", "sha256:" + strings.ToUpper(hex), "sha256:" + hex[1:], "sha256:a" + hex, "md5:" + hex[:32],
		"sha256:../../x", "sha256:" + strings.Repeat("a", 1<<20), "../../x", "a b", "\x1b[31m",
	} {
		t.Run(fmt.Sprintf("%.24q", d), func(t *testing.T) {
			r := clienttest.NewRegistry(t)
			member := registrytest.Member(ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(d), Size: 100,
			}, "web")
			r.Tag("org/app", "v1", r.Index("org/app", member).Digest)
			for _, args := range [][]string{
				{"tree"}, {"resolve"}, {"pull", "-q", "--to", "oci-layout:" + filepath.Join(t.TempDir(), "out")},
			} {
				var stdout, stderr bytes.Buffer
				args = append(args, "--plain-http", "--hosts-dir=", r.Host()+"/org/app:v1")
				if got := run(t.Context(), args, &stdout, &stderr); got != invalid {
					t.Errorf("%s: exit status %d, want %d: %.300s", args[0], got, invalid, &stderr)
				}
				checkError(t, stderr.String())
			}
			if n := r.Count(registrytest.In("org/app/web")); n != 0 {
				t.Errorf("%d requests for the member", n)
			}
		})
	}
}

// TestBadSizes: sizes that no document has are refused before the request.
func TestBadSizes(t *testing.T) {
	ownCredentials(t)
	for _, size := range []int64{-1, 0, 64 << 20, 1<<63 - 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := clienttest.NewRegistry(t)
			image := r.Image("org/app/web", []byte("layer"))
			image.Size = size
			body, err := json.Marshal(map[string]any{
				"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex,
				"manifests": []ocispec.Descriptor{registrytest.Member(image, "web")},
			})
			if err != nil {
				t.Fatal(err)
			}
			r.Put("org/app", ocispec.MediaTypeImageIndex, body, "v1")
			var stdout, stderr bytes.Buffer
			if got := run(t.Context(), []string{"tree", "--plain-http", "--hosts-dir=", r.Host() + "/org/app:v1"}, &stdout, &stderr); got != invalid {
				t.Errorf("exit status %d, want %d: %s", got, invalid, &stderr)
			}
			if n := r.Count(registrytest.In("org/app/web")); n != 0 {
				t.Errorf("%d requests for the member", n)
			}
		})
	}
}
