package layout

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/bundle"
)

// TestSmallBlobs: a small blob is in a layout when it is what its descriptor says, and then only; it stands there once,
// and no file is left beside it.
func TestSmallBlobs(t *testing.T) {
	l := newLayout(t.TempDir())
	err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	const text = "content"
	desc := ocispec.Descriptor{Digest: digest.FromString(text), Size: int64(len(text))}
	bring := func(text string) error {
		w, busy := l.Writer(t.Context(), content.WithRef("ref"), content.WithDescriptor(desc))
		if busy != nil {
			return busy
		}
		return content.Copy(t.Context(), w, strings.NewReader(text), desc.Size, desc.Digest)
	}
	for _, other := range []string{"another", "contents"} {
		if err = bring(other); !errors.Is(err, bundle.ErrMismatch) {
			t.Errorf("%s: %v", other, err)
		}
		if _, err = l.root.Lstat(blobFile(desc.Digest)); err == nil {
			t.Errorf("%s was stored", other)
		}
	}
	late, err := l.Writer(t.Context(), content.WithRef("ref"), content.WithDescriptor(desc))
	if err != nil {
		t.Fatal(err)
	}
	if err = bring(text); err != nil {
		t.Error(err)
	}
	if err = content.Copy(t.Context(), late, strings.NewReader(text), desc.Size, desc.Digest); err != nil {
		t.Errorf("a second that was begun before: %v", err)
	}
	if err = bring(text); !errdefs.IsAlreadyExists(err) {
		t.Errorf("again: %v", err)
	}
	data, err := content.ReadBlob(t.Context(), l, desc)
	if err != nil || string(data) != text {
		t.Errorf("%q, %v", data, err)
	}
	if err = l.Close(); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(filepath.Join(l.dir, blobsDir))
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}
