package records

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
)

// removing is an image store whose records somebody removes just before they are updated, once.
type removing struct {
	images.Store
	done bool
}

func (r *removing) Update(ctx context.Context, image images.Image, paths ...string) (images.Image, error) {
	if !r.done {
		r.done = true
		if err := r.Delete(ctx, image.Name); err != nil {
			return images.Image{}, err
		}
	}
	return r.Store.Update(ctx, image, paths...)
}

// TestRemovedInBetween: a record that somebody removes while it is made again is there in the end.
func TestRemovedInBetween(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "meta.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := namespaces.WithNamespace(t.Context(), "test")
	target := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("index"), Size: 5}
	members := []Member{{Name: "reg.test/app/web@" + target.Digest.String(), Target: target}}
	for record, makeRecord := range map[string]func(b Bundle) error{
		"reg.test/app:v1": func(b Bundle) error { return b.Root(ctx, target) },
		members[0].Name:   func(b Bundle) error { return b.Members(ctx, members, nil, nil) },
	} {
		t.Run(record, func(t *testing.T) {
			store := &removing{Store: metadata.NewImageStore(metadata.NewDB(db, nil, nil))}
			for range 2 {
				if err := makeRecord(Bundle{Images: store, Name: "reg.test/app:v1"}); err != nil {
					t.Fatal(err)
				}
			}
			all, err := store.List(ctx)
			if err != nil || !store.done || len(all) != 1 || all[0].Name != record || all[0].Target.Digest != target.Digest {
				t.Errorf("%+v, %v; removed in between: %t", all, err, store.done)
			}
			if err = store.Delete(ctx, record); err != nil {
				t.Error(err)
			}
		})
	}
}
