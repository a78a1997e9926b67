package integration

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// checkLayout checks that a directory is an OCI layout in which every blob is what its name says,
// and that its index has these names and no others.
func checkLayout(t *testing.T, dir string, names ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "oci-layout"))
	must(t, err)
	var layout ocispec.ImageLayout
	must(t, json.Unmarshal(data, &layout))
	if layout.Version != ocispec.ImageLayoutVersion {
		t.Errorf("layout version %q", layout.Version)
	}
	checkBlobs(t, dir)

	var got []string
	for _, desc := range layoutIndex(t, dir).Manifests {
		got = append(got, desc.Annotations["io.containerd.image.name"])
		if _, err := os.Stat(blobPath(dir, desc.Digest)); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, names) {
		t.Errorf("names in the layout's index: %q, want %q", got, names)
	}
}

// layoutIndex is the layout's index, an empty one when there is none yet.
func layoutIndex(t *testing.T, dir string) ocispec.Index {
	t.Helper()
	var index ocispec.Index
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return index
	}
	must(t, err)
	must(t, json.Unmarshal(data, &index))
	return index
}

// checkBlobs checks that every file among the blobs verifies.
func checkBlobs(t *testing.T, dir string) {
	t.Helper()
	root := filepath.Join(dir, ocispec.ImageBlobsDir)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		algorithm := digest.Algorithm(filepath.Base(filepath.Dir(path)))
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		got, err := algorithm.FromReader(file)
		if err == nil && got.Encoded() != entry.Name() {
			t.Errorf("blob %s has digest %s", entry.Name(), got)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func blobPath(dir string, d digest.Digest) string {
	return filepath.Join(dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// diskUse is the size of all files below a directory, which may change meanwhile.
func diskUse(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // gone since it was listed
		}
		if info, err := entry.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
