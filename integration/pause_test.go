package integration

import (
	"archive/tar"
	"bytes"
	"path"
	"sync"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pauseName is the image of pods' sandboxes. No registry has it.
const pauseName = "nested.test/pause:1"

// pauseSource keeps a sandbox's namespaces until it is told to end.
const pauseSource = `package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
`

// pauseProgram builds the program of sandboxes, once for a test binary.
var pauseProgram = sync.OnceValues(func() ([]byte, error) { return buildProgram(pauseSource) })

// load brings an image into the daemon that comes from no registry.
func (c *containerd) load(t *testing.T, name string, image node) {
	t.Helper()
	cmd := c.command(t, "images", "import", "-")
	cmd.Stdin = archiveOf(t, name, image)
	runCommand(t, cmd)
}

// archiveOf is an OCI layout in a tar.
func archiveOf(t *testing.T, name string, image node) *bytes.Buffer {
	t.Helper()
	root := image.desc
	root.Annotations = map[string]string{"io.containerd.image.name": name}
	layout := newDocument(t, "", ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	index := newDocument(t, "", ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{root}})
	files := map[string][]byte{ocispec.ImageLayoutFile: layout.data, ocispec.ImageIndexFile: index.data}
	for _, c := range append(image.blobs, image.content) {
		files[path.Join(ocispec.ImageBlobsDir, "sha256", c.desc.Digest.Encoded())] = c.data
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, data := range files {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		must(t, err)
	}
	must(t, w.Close())
	return &archive
}
