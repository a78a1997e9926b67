package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// cmdLayout checks a layout and prints it: a line for each name in index.json
// and one for each blob, by the names of the publisher. Blobs that do not
// verify, names without content and foreign files fail the script.
func cmdLayout(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1)
	dir := ts.MkAbs(args[0])
	files := map[string][]byte{}
	ts.Check(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(name, "ingest"+string(filepath.Separator)) {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	}))
	printLayout(ts, files)
}

// cmdSpoil overwrites the blobs of a layout.
func cmdSpoil(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1)
	blobs, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "blobs", "*", "*"))
	ts.Check(err)
	for _, blob := range blobs {
		ts.Check(os.Chmod(blob, 0o600))
		ts.Check(os.WriteFile(blob, []byte("spoilt"), 0o600))
	}
}

// cmdArchive does what cmdLayout does for an archive, in which each file stands once.
func cmdArchive(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1)
	files := map[string][]byte{}
	archive := tar.NewReader(strings.NewReader(ts.ReadFile(args[0])))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		if _, ok := files[header.Name]; ok || header.Typeflag != tar.TypeReg {
			ts.Fatalf("entry %s: twice, or no file", header.Name)
		}
		files[header.Name], err = io.ReadAll(archive)
		ts.Check(err)
	}
	printLayout(ts, files)
}

func printLayout(ts *testscript.TestScript, files map[string][]byte) {
	var out bytes.Buffer
	var layout ocispec.ImageLayout
	ts.Check(json.Unmarshal(files[ocispec.ImageLayoutFile], &layout))
	if layout.Version != ocispec.ImageLayoutVersion {
		ts.Fatalf("%s: version %q", ocispec.ImageLayoutFile, layout.Version)
	}
	delete(files, ocispec.ImageLayoutFile)
	var index ocispec.Index
	ts.Check(json.Unmarshal(files[ocispec.ImageIndexFile], &index))
	delete(files, ocispec.ImageIndexFile)
	texts := registrytest.LayoutFiles{}
	for name, data := range files {
		texts[name] = string(data)
	}
	for _, d := range index.Manifests {
		ts.Check(texts.Complete(d))
		fmt.Fprintf(&out, "name %s %s\n", d.Annotations[images.AnnotationImageName], sceneOf(ts).called(d.Digest))
	}
	var blobs []string
	for file, data := range files {
		d := digest.NewDigestFromEncoded(digest.SHA256, strings.TrimPrefix(file, "blobs/sha256/"))
		if digest.FromBytes(data) != d {
			ts.Fatalf("%s does not verify, or does not belong here", file)
		}
		blobs = append(blobs, "blob "+sceneOf(ts).called(d))
	}
	slices.Sort(blobs)
	fmt.Fprintln(&out, strings.Join(blobs, "\n"))
	_, err := io.Copy(ts.Stdout(), &out)
	ts.Check(err)
}

func (s *scene) called(d digest.Digest) string {
	if name, ok := s.names[d]; ok {
		return name
	}
	return d.String()
}

func copyTo(tb testing.TB, src, dst string) (status int, stderr string) {
	tb.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), []string{"copy", "-q", src, dst}, &out, &errs)
	return status, errs.String()
}

// TestNamelessLayout: what comes from a layout that does not say where its
// content is from gets no name of a repository, neither where it is copied to
// nor in what is printed.
func TestNamelessLayout(t *testing.T) {
	f, _ := registrytest.NamedLayout("v1", "1+2", "")
	dir := t.TempDir()
	clienttest.NoError(t, f.Write(filepath.Join(dir, "from")))
	for _, name := range []string{"v1", "1+2", "v1"} {
		if status, stderr := copyTo(t, "oci-layout:"+filepath.Join(dir, "from")+":"+name, "oci-layout:"+filepath.Join(dir, "to")); status != 0 {
			t.Fatal(stderr)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "to", "index.json"))
	clienttest.NoError(t, err)
	var index ocispec.Index
	clienttest.NoError(t, json.Unmarshal(data, &index))
	if len(index.Manifests) != 2 || strings.Contains(string(data), ".invalid") || strings.Count(string(data), ocispec.AnnotationRefName) != 1 || !strings.Contains(string(data), `"v1"`) {
		t.Errorf("index.json: %s", data)
	}
	clienttest.NoError(t, os.Remove(filepath.Join(dir, "from", registrytest.LayoutBlob(digest.FromString("{}")))))
	status, stderr := copyTo(t, "oci-layout:"+filepath.Join(dir, "from")+":v1", "oci-layout:"+filepath.Join(dir, "other"))
	if status != notFound || strings.Contains(stderr, ".invalid") || !strings.Contains(stderr, "oci-layout:"+dir) {
		t.Errorf("exit status %d: %s", status, stderr)
	}
}
