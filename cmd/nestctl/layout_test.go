package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
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
	for _, d := range index.Manifests {
		ts.Check(complete(files, d))
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

// complete checks that a named descriptor's content is there. Of an index
// only some entries need to be, of a manifest everything.
func complete(files map[string][]byte, d ocispec.Descriptor) error {
	data, ok := files["blobs/sha256/"+d.Digest.Encoded()]
	if !ok || int64(len(data)) != d.Size {
		return fmt.Errorf("%s is named and not there", d.Digest)
	}
	if d.MediaType != ocispec.MediaTypeImageManifest {
		return nil
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	for _, below := range append(m.Layers, m.Config) {
		if err := complete(files, below); err != nil {
			return err
		}
	}
	return nil
}

func (s *scene) called(d digest.Digest) string {
	if name, ok := s.names[d]; ok {
		return name
	}
	return d.String()
}
