package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/opencontainers/image-spec/specs-go"
	"go.yaml.in/yaml/v3"
)

// Helm's media types of a chart in a registry.
const (
	chartConfig  = "application/vnd.cncf.helm.config.v1+json"
	chartContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// Helm wants semantic versions, and a registry's tags have no +.
var chartVersion = regexp.MustCompile(`^v(\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?)$`)

// packChart writes NAME-VERSION.tgz, as helm package names it, and NAME-chart-VERSION.oci.tar, as helm push would push it, of the
// chart in a directory. Its versions become the release's.
func packChart(r release, dir, out string) error {
	match := chartVersion.FindStringSubmatch(r.version)
	if match == nil {
		return fmt.Errorf("version %q: a chart's is like v0.1.0 or v0.2.0-rc.1", r.version)
	}
	about, files, err := readChart(dir, map[string]any{"version": match[1], "appVersion": r.version})
	if err != nil {
		return err
	}
	data, err := tarOf(r.created, files)
	if err != nil {
		return err
	}
	zipped, err := zip(data)
	if err != nil {
		return err
	}
	archive, err := chartArchive(r, about, zipped, match[1])
	if err != nil {
		return err
	}
	name := fmt.Sprint(about["name"])
	if err = write(filepath.Join(out, name+"-"+match[1]+".tgz"), zipped); err != nil {
		return err
	}
	return write(filepath.Join(out, name+"-chart-"+r.version+".oci.tar"), archive)
}

// readChart reads the files of a chart, below a directory of its name, and what Chart.yaml says, with values set in it.
func readChart(dir string, set map[string]any) (about map[string]any, files []file, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		return nil, nil, err
	}
	if err = yaml.Unmarshal(text, &about); err != nil {
		return nil, nil, err
	}
	for key, value := range set {
		about[key] = value
	}
	if text, err = yaml.Marshal(about); err != nil {
		return nil, nil, err
	}
	root := os.DirFS(dir)
	err = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data := text
		if path != "Chart.yaml" {
			data, err = fs.ReadFile(root, path)
		}
		files = append(files, file{fmt.Sprintf("%v/%s", about["name"], path), 0o644, data})
		return err
	})
	return about, files, err
}

// chartArchive is the layout of a chart as Helm pulls it from a registry: the content of Chart.yaml as the configuration,
// and the .tgz as the only layer.
func chartArchive(r release, about map[string]any, zipped []byte, tag string) ([]byte, error) {
	l := layout{}
	config, err := l.addJSON(chartConfig, about)
	if err != nil {
		return nil, err
	}
	content := l.add(chartContent, zipped)
	content.Annotations = map[string]string{ocispec.AnnotationTitle: fmt.Sprintf("%v-%s.tgz", about["name"], tag)} // for oras
	annotations := r.labels()
	annotations[ocispec.AnnotationVersion] = strings.TrimPrefix(r.version, "v")
	annotations[ocispec.AnnotationDescription] = fmt.Sprint(about["description"])
	root, err := l.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers: []ocispec.Descriptor{content}, Annotations: annotations,
	})
	if err != nil {
		return nil, err
	}
	return l.archive(root, tag)
}
