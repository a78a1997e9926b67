package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// content is a blob, a manifest or an index, with its descriptor.
type content struct {
	desc ocispec.Descriptor
	data []byte
}

func newContent(mediaType string, data []byte) content {
	return content{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data}
}

func newDocument(t testing.TB, mediaType string, document any) content {
	t.Helper()
	data, err := json.Marshal(document)
	must(t, err)
	return newContent(mediaType, data)
}

// node is a manifest or an index with all that belongs to it.
type node struct {
	content
	blobs   []content
	nodes   []node   // in the same repository
	members []member // in repositories below it
}

// helloSource prints the file that an image's own layer holds.
const helloSource = `package main

import "os"

func main() {
	text, err := os.ReadFile("/message")
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(text)
}
`

// hello builds the static program of all test images, once for a test binary.
var hello = sync.OnceValues(func() ([]byte, error) { return buildProgram(helloSource) })

// buildProgram builds a static program for Linux from its one file.
func buildProgram(text string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "program")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(program)
}

// layer is a gzipped tar, with the digest of the tar itself for the image's configuration.
type layer struct {
	content
	diffID digest.Digest
}

// newLayer makes a layer of one executable file. A second, random file makes it one of its kind:
// containerd shares content across its namespaces, and what one test pulled no other would fetch.
func newLayer(t testing.TB, name string, data []byte) layer {
	t.Helper()
	var archive, packed bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, data := range map[string][]byte{name: data, ".nonce-" + rand.Text(): []byte(rand.Text())} {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}))
		_, err := w.Write(data)
		must(t, err)
	}
	must(t, w.Close())
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	must(t, err)
	_, err = z.Write(archive.Bytes())
	must(t, err)
	must(t, z.Close())
	return layer{newContent(ocispec.MediaTypeImageLayerGzip, packed.Bytes()), digest.FromBytes(archive.Bytes())}
}

// baseLayer holds the program of a test's images.
func baseLayer(t testing.TB) layer {
	t.Helper()
	program, err := hello()
	must(t, err)
	return newLayer(t, "hello", program)
}

// newImage makes an image that prints the message when it is run.
func newImage(t testing.TB, platform ocispec.Platform, message string, layers ...layer) node {
	t.Helper()
	layers = append(layers, newLayer(t, "message", []byte(message)))
	image := ocispec.Image{Platform: platform, Config: ocispec.ImageConfig{Entrypoint: []string{"/hello"}}}
	image.RootFS.Type = "layers"
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var blobs []content
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.diffID)
		manifest.Layers = append(manifest.Layers, l.desc)
		blobs = append(blobs, l.content)
	}
	config := newDocument(t, ocispec.MediaTypeImageConfig, image)
	manifest.Config = config.desc
	made := node{content: newDocument(t, manifest.MediaType, manifest), blobs: append(blobs, config)}
	made.desc.Platform = &platform
	return made
}

// newArtifact makes an artifact manifest with blobs of any media types.
func newArtifact(t testing.TB, artifactType string, blobs ...content) node {
	t.Helper()
	config := newContent(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	manifest := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType,
		Config:       config.desc,
	}
	for _, blob := range blobs {
		manifest.Layers = append(manifest.Layers, blob.desc)
	}
	made := node{content: newDocument(t, manifest.MediaType, manifest), blobs: append(blobs, config)}
	made.desc.ArtifactType = artifactType
	return made
}

// newIndex makes an index over nodes of its own repository.
func newIndex(t testing.TB, nodes ...node) node {
	t.Helper()
	descs := make([]ocispec.Descriptor, len(nodes))
	for i, n := range nodes {
		descs[i] = n.desc
	}
	made := indexOf(t, descs...)
	made.nodes = nodes
	return made
}

func indexOf(t testing.TB, descs ...ocispec.Descriptor) node {
	t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: descs}
	return node{content: newDocument(t, index.MediaType, index)}
}

// randomBlob is a blob that no other test has.
func randomBlob(mediaType string, size int) content {
	data := make([]byte, size)
	rand.Read(data)
	return newContent(mediaType, data)
}

// pushNode puts a node with all that belongs to it into a repository. Blobs first, then manifests,
// the node itself last: registries insist.
func (r *registry) pushNode(t testing.TB, repository, tag string, n node) {
	t.Helper()
	for _, blob := range n.blobs {
		r.pushBlob(t, repository, blob.desc, bytes.NewReader(blob.data))
	}
	for _, inner := range n.nodes {
		r.pushNode(t, repository, "", inner)
	}
	for _, m := range n.members {
		r.pushNode(t, repository+"/"+m.namespace, "", m.node)
	}
	r.pushManifest(t, repository, tag, n.content)
}

// withLabel is an image with the same layers and another config.
func withLabel(t testing.TB, image node, label string) node {
	t.Helper()
	var config ocispec.Image
	var manifest ocispec.Manifest
	last := len(image.blobs) - 1
	must(t, json.Unmarshal(image.blobs[last].data, &config))
	must(t, json.Unmarshal(image.data, &manifest))
	config.Config.Labels = map[string]string{"label": label}
	changed := newDocument(t, ocispec.MediaTypeImageConfig, config)
	manifest.Config = changed.desc
	made := node{content: newDocument(t, manifest.MediaType, manifest), blobs: append(slices.Clone(image.blobs[:last]), changed)}
	made.desc.Platform = image.desc.Platform
	return made
}

// mergeIndexes makes an index with the entries of several.
func mergeIndexes(t testing.TB, indexes ...node) node {
	t.Helper()
	var descs []ocispec.Descriptor
	for _, n := range indexes {
		var index ocispec.Index
		must(t, json.Unmarshal(n.data, &index))
		descs = append(descs, index.Manifests...)
	}
	return indexOf(t, descs...)
}
