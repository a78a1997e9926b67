package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.yaml.in/yaml/v3"
)

// TestChart: the .tgz has all files below the chart's name and the release's version; the archive has it as Helm wants it in
// a registry.
func TestChart(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(dir, "Chart.yaml"), "apiVersion: v2\nname: own\ndescription: words\nversion: 0.0.0 # of a release\n")
	writeFile(t, filepath.Join(dir, "templates/a/x.yaml"), "x: {{ .Values.x }}\n")
	must(t, run([]string{"chart", "-version", "v0.2.0-rc.1", "-created", testTime, "-out", out, dir}))
	zipped, err := os.ReadFile(filepath.Join(out, "own-0.2.0-rc.1.tgz"))
	must(t, err)
	files, headers := tarFiles(t, bytes.NewReader(unzip(t, zipped)))
	var names []string
	for _, h := range headers {
		names = append(names, h.Name)
		if h.Mode != 0o644 || h.Uid != 0 || h.ModTime.Unix() != 1780000000 {
			t.Errorf("%+v", h)
		}
	}
	if !slices.Equal(names, []string{"own/Chart.yaml", "own/templates/a/x.yaml"}) || string(files["own/templates/a/x.yaml"]) != "x: {{ .Values.x }}\n" {
		t.Errorf("files %q", files)
	}
	var about struct {
		Name, Version, Description string
		AppVersion                 string `yaml:"appVersion"`
	}
	must(t, yaml.Unmarshal(files["own/Chart.yaml"], &about))

	l, root := layoutOf(t, filepath.Join(out, "own-chart-v0.2.0-rc.1.oci.tar"))
	var manifest ocispec.Manifest
	config := about
	l.read(t, root, &manifest)
	l.read(t, manifest.Config, &config)
	if about.Version != "0.2.0-rc.1" || config != about || root.Annotations[ocispec.AnnotationRefName] != about.Version {
		t.Errorf("Chart.yaml %+v, configuration %+v, root %+v", about, config, root)
	}
	layer := manifest.Layers[0]
	if layer.MediaType != chartContent || manifest.Config.MediaType != chartConfig || !bytes.Equal(l[layer.Digest], zipped) {
		t.Errorf("manifest %+v", manifest)
	}
}
