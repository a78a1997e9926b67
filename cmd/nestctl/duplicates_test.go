package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestDuplicates: three levels with 500 entries each, all for the same member, are one member.
func TestDuplicates(t *testing.T) {
	r := checkScene(t)
	repeated := func(repository string, d ocispec.Descriptor) ocispec.Descriptor {
		return r.Index(repository, slices.Repeat([]ocispec.Descriptor{registrytest.Member(d, "a")}, 500)...)
	}
	image := r.Image("org/app/a/a/a", registrytest.TarLayer(map[string]string{"a": "1"}))
	root := repeated("org/app", repeated("org/app/a", repeated("org/app/a/a", image)))
	r.Tag("org/app", "v1", root.Digest)
	for _, args := range [][]string{
		{"pull", "--to", "oci-layout:" + filepath.Join(t.TempDir(), "layout")},
		{"check"},
		{"tree"},
	} {
		r.ResetLog()
		var stdout, stderr bytes.Buffer
		began := time.Now()
		if status := run(t.Context(), append(args, "--plain-http", "--hosts-dir=", "--format=json", r.Host()+"/org/app:v1"), &stdout, &stderr); status != 0 {
			t.Errorf("%s: exit status %d: %.500s", args[0], status, &stderr)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", args[0], took)
		}
		if !json.Valid(stdout.Bytes()) || stdout.Len() > 1<<20 {
			t.Errorf("%s: %d bytes of output", args[0], stdout.Len())
		}
		asked := map[string]int{}
		for _, q := range r.Log(func(q registrytest.Request) bool { return q.Kind != registrytest.KindToken && q.Status < 400 }) {
			asked[q.Method+" "+q.Repository+" "+q.Reference]++
		}
		for what, n := range asked {
			if n != 1 {
				t.Errorf("%s: %s %d times", args[0], what, n)
			}
		}
	}
}
