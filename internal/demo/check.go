package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// checkLayout checks that a layout holds a root, everything that it leads to and nothing else, and
// returns how many blobs that is.
func checkLayout(dir string, root ocispec.Descriptor) (int, error) {
	found := map[digest.Digest]bool{}
	if err := follow(dir, root, found); err != nil {
		return 0, err
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(dir, ocispec.ImageBlobsDir), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files++
		}
		return err
	})
	if err == nil && files != len(found) {
		err = fmt.Errorf("%d blobs, of which %d belong to the bundle", files, len(found))
	}
	return files, err
}

// follow checks a blob and, when it is a manifest or an index, what it points to.
func follow(dir string, d ocispec.Descriptor, found map[digest.Digest]bool) error {
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageBlobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded()))
	if err != nil {
		return err
	}
	if digest.FromBytes(data) != d.Digest || int64(len(data)) != d.Size {
		return fmt.Errorf("%s does not match its digest", d.Digest)
	}
	found[d.Digest] = true
	if d.MediaType != ocispec.MediaTypeImageIndex && d.MediaType != ocispec.MediaTypeImageManifest {
		return nil
	}
	var content struct {
		Config            *ocispec.Descriptor
		Layers, Manifests []ocispec.Descriptor
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return err
	}
	below := slices.Concat(content.Layers, content.Manifests)
	if content.Config != nil {
		below = append(below, *content.Config)
	}
	for _, b := range below {
		if err := follow(dir, b, found); err != nil {
			return err
		}
	}
	return nil
}

// recorded counts the names in a layout.
func recorded(dir string) (int, error) {
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return 0, err
	}
	var index ocispec.Index
	err = json.Unmarshal(data, &index)
	return len(index.Manifests), err
}
