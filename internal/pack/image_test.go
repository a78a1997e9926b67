package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// testTime and testRevision are those of all that the tests pack.
const testTime, testRevision = "1780000000", "0123456789abcdef0123456789abcdef01234567"

// packTestImage packs an image of two platforms, and returns its archive.
func packTestImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "dist/image.oci.tar")
	must(t, run([]string{"image", "-version", "v0.1.0", "-created", testTime, "-revision", testRevision, "-out", out,
		"-ca", writeFile(t, filepath.Join(dir, "ca"), "CAs\n"),
		"linux/amd64=" + writeFile(t, filepath.Join(dir, "amd64"), "program of amd64"),
		"linux/arm/v7=" + writeFile(t, filepath.Join(dir, "arm"), "program of arm")}))
	return out
}

// tarFiles reads a tar file: what each name holds, and the headers.
func tarFiles(t *testing.T, r io.Reader) (map[string][]byte, []*tar.Header) {
	t.Helper()
	files := map[string][]byte{}
	var headers []*tar.Header
	for reader := tar.NewReader(r); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, headers
		}
		must(t, err)
		files[header.Name], err = io.ReadAll(reader)
		must(t, err)
		headers = append(headers, header)
	}
}

// layoutOf reads an archive, and returns what it has by digest, and its only root.
func layoutOf(t *testing.T, path string) (layout, ocispec.Descriptor) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	files, _ := tarFiles(t, bytes.NewReader(data))
	var index ocispec.Index
	must(t, json.Unmarshal(files[ocispec.ImageIndexFile], &index))
	if len(index.Manifests) != 1 || string(files[ocispec.ImageLayoutFile]) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Fatalf("index %s, layout %s", files[ocispec.ImageIndexFile], files[ocispec.ImageLayoutFile])
	}
	l := layout{}
	for name, data := range files {
		if encoded, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			d := digest.NewDigestFromEncoded(digest.SHA256, encoded)
			if digest.FromBytes(data) != d {
				t.Errorf("%s has other bytes", name)
			}
			l[d] = data
		}
	}
	return l, index.Manifests[0]
}

// read decodes the blob that a descriptor describes.
func (l layout) read(t *testing.T, d ocispec.Descriptor, into any) {
	t.Helper()
	if int64(len(l[d.Digest])) != d.Size {
		t.Fatalf("%s %s: %d bytes", d.MediaType, d.Digest, len(l[d.Digest]))
	}
	must(t, json.Unmarshal(l[d.Digest], into))
}

func unzip(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	must(t, err)
	data, err = io.ReadAll(r)
	must(t, err)
	return data
}

// TestImage: an index with an image for each platform, of two layers, with nothing in them that another run or another
// machine would write otherwise.
func TestImage(t *testing.T) {
	l, root := layoutOf(t, packTestImage(t))
	var index ocispec.Index
	l.read(t, root, &index)
	if root.Annotations[ocispec.AnnotationRefName] != "v0.1.0" || index.Annotations[ocispec.AnnotationRevision] != testRevision {
		t.Errorf("root %+v, annotations %v", root, index.Annotations)
	}
	for i, want := range []struct {
		platform ocispec.Platform
		program  string
	}{
		{ocispec.Platform{OS: "linux", Architecture: "amd64"}, "program of amd64"},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, "program of arm"},
	} {
		var manifest ocispec.Manifest
		var image ocispec.Image
		l.read(t, index.Manifests[i], &manifest)
		l.read(t, manifest.Config, &image)
		if got := fmt.Sprint(*index.Manifests[i].Platform, image.Platform); got != fmt.Sprint(want.platform, want.platform) {
			t.Errorf("platforms %s", got)
		}
		layers := checkLayers(t, l, manifest, image)
		if string(layers["usr/bin/nestctl"]) != want.program || string(layers["etc/ssl/certs/ca-certificates.crt"]) != "CAs\n" {
			t.Errorf("%v: files %q", want.platform, layers)
		}
	}
	if len(l) != 1+2*2+1+2 {
		t.Errorf("%d blobs: the layer of CAs is not one for both", len(l))
	}
}

// checkLayers returns all files of an image.
func checkLayers(t *testing.T, l layout, manifest ocispec.Manifest, image ocispec.Image) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for i, desc := range manifest.Layers {
		data := unzip(t, l[desc.Digest])
		if digest.FromBytes(data) != image.RootFS.DiffIDs[i] {
			t.Errorf("diff ID %s", image.RootFS.DiffIDs[i])
		}
		files, headers := tarFiles(t, bytes.NewReader(data))
		for _, h := range headers {
			if fmt.Sprint(h.ModTime.Unix()) != testTime || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
				t.Errorf("%+v", h)
			}
			if want := map[bool]int64{true: 0o755, false: 0o644}[h.Typeflag == tar.TypeDir || h.Name == "usr/bin/nestctl"]; h.Mode != want {
				t.Errorf("%s has mode %o", h.Name, h.Mode)
			}
			all[h.Name] = files[h.Name]
		}
	}
	return all
}

// TestImageIsReproducible: two runs make the same bytes.
func TestImageIsReproducible(t *testing.T) {
	first, err := os.ReadFile(packTestImage(t))
	must(t, err)
	second, err := os.ReadFile(packTestImage(t))
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Error("they differ")
	}
}

// TestImageIsThatOfDockerfile: make image and make release-image make images with the same files and settings.
func TestImageIsThatOfDockerfile(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	must(t, err)
	line := func(instruction string) (all []string) {
		for _, match := range regexp.MustCompile(`(?m)^`+instruction+` (.*)$`).FindAllStringSubmatch(string(text), -1) {
			all = append(all, match[1])
		}
		return all
	}
	config := release{}.config()
	l, root := layoutOf(t, packTestImage(t))
	var index ocispec.Index
	var manifest ocispec.Manifest
	l.read(t, root, &index)
	l.read(t, index.Manifests[0], &manifest)
	var copied []string
	for _, desc := range manifest.Layers {
		files, _ := tarFiles(t, bytes.NewReader(unzip(t, l[desc.Digest])))
		for name := range files {
			if !strings.HasSuffix(name, "/") {
				copied = append(copied, filepath.Base(name)+" /"+name)
			}
		}
	}
	for what, pair := range map[string][2][]string{
		"files":       {copied, line("COPY")},
		"environment": {config.Env, strings.Fields(strings.Join(line("ENV"), " "))},
		"user":        {{config.User}, line("USER")},
		"entry point": {{fmt.Sprintf("[%q]", config.Entrypoint[0])}, line("ENTRYPOINT")},
		"base":        {{"scratch"}, line("FROM")},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: %q, and in Dockerfile %q", what, pair[0], pair[1])
		}
	}
}

// TestPackRefuses: what cannot be packed is an error that names it, and nothing is written.
func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "file"), "x")
	out := filepath.Join(dir, "out")
	for _, test := range []struct{ args, want string }{
		{"", "usage"},
		{"image", "usage"},
		{"package -version v1 -created 1 -out " + out + " x", "usage"},
		{"image -version v1 -created 1 -out " + out + " linux/amd64=" + file, "usage"}, // no CAs
		{"image -version v1 -created 1 -ca " + file + " -out " + out + " linux=" + file, `platform "linux"`},
		{"image -version v1 -created 1 -ca " + file + " -out " + out + " linux/amd64=" + file + "x", file + "x"},
		{"image -version v1 -created now -ca " + file + " -out " + out + " linux/amd64=" + file, "now"},
		{"chart -version de2d782 -created 1 -out " + out + " " + dir, `version "de2d782"`},
		{"chart -version v0.1.0+1 -created 1 -out " + out + " " + dir, `version "v0.1.0+1"`},
		{"chart -version v0.1.0 -created 1 -out " + out + " " + dir, "Chart.yaml"},
	} {
		err := run(strings.Fields(test.args))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.args, err)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}
