package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestGatherMemory: a thousand images, with configs of 16 KiB, become one bundle in less than 150 MiB. The registries
// cost nothing.
func TestGatherMemory(t *testing.T) {
	needs(t, "all", "linux", "nestctl")
	const images = 1000
	src, dst := registrytest.New(), registrytest.New()
	t.Cleanup(src.Close)
	t.Cleanup(dst.Close)
	dst.Intercept(dst.Pushes(false))
	var list strings.Builder
	base := []byte("the layer that all have in common")
	for i := range images {
		repository := fmt.Sprintf("team%d/image%d", i%10, i)
		config, err := json.Marshal(ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Author: fmt.Sprint(i) + strings.Repeat("x", 16<<10)})
		must(t, err)
		manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: src.PutBlob(repository, ocispec.MediaTypeImageConfig, config)}
		manifest.SchemaVersion = 2
		for _, layer := range [][]byte{base, []byte("a layer of " + repository)} {
			manifest.Layers = append(manifest.Layers, src.PutBlob(repository, ocispec.MediaTypeImageLayer, layer))
		}
		data, err := json.Marshal(manifest)
		must(t, err)
		src.Put(repository, ocispec.MediaTypeImageManifest, data, "v1")
		fmt.Fprintf(&list, "%s/%s:v1\n", src.Host(), repository)
	}
	cmd := newNestctl(t, t.TempDir()).command(t, "index", "create", "--plain-http", "--format", "json", "--copy", "--from", "-", dst.Host()+"/org/app:v1")
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(list.String()), &stdout, &stderr
	must(t, cmd.Start())
	peak, done := make(chan int64), make(chan struct{})
	go func() { peak <- peakMemory(cmd.Process.Pid, done) }()
	err := cmd.Wait()
	close(done)
	most := <-peak
	if err != nil || strings.Count(stdout.String(), "@sha256:") != images {
		t.Fatalf("%v: %.2000s%.2000s", err, stdout.String(), stderr.String())
	}
	if t.Logf("it held %d MiB", most>>20); most > 150<<20 || most == 0 {
		t.Errorf("it held %d MiB", most>>20)
	}
}
