package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// packImage writes the archive of an image for all platforms given as OS/ARCHITECTURE[/VARIANT]=PROGRAM, in this order.
// It is what Dockerfile makes.
func packImage(r release, caFile, out string, programs []string) error {
	cas, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	l := layout{}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Annotations: r.labels()}
	for _, given := range programs {
		var desc ocispec.Descriptor
		if desc, err = l.addProgram(r, cas, given); err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, desc)
	}
	root, err := l.addJSON(ocispec.MediaTypeImageIndex, index)
	if err != nil {
		return err
	}
	data, err := l.archive(root, r.version)
	if err != nil {
		return err
	}
	return write(out, data)
}

// addProgram adds the image of one OS/ARCHITECTURE[/VARIANT]=PROGRAM.
func (l layout) addProgram(r release, cas []byte, given string) (ocispec.Descriptor, error) {
	name, path, _ := strings.Cut(given, "=")
	platform, err := parsePlatform(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.addImage(r, platform, cas, program)
}

func parsePlatform(text string) (ocispec.Platform, error) {
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return ocispec.Platform{}, fmt.Errorf("platform %q: want OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT", text)
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// addImage adds the image of one platform: a layer of CAs, which all platforms share, and one of nestctl.
func (l layout) addImage(r release, platform ocispec.Platform, cas, program []byte) (ocispec.Descriptor, error) {
	image := ocispec.Image{Created: &r.created, Platform: platform, Config: r.config(), RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: r.labels()}
	for _, f := range []file{
		{"etc/ssl/certs/ca-certificates.crt", 0o644, cas},
		{"usr/bin/nestctl", 0o755, program},
	} {
		layer, diffID, err := l.addLayer(r.created, f)
		if err != nil {
			return layer, err
		}
		manifest.Layers = append(manifest.Layers, layer)
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, diffID)
		image.History = append(image.History, ocispec.History{Created: &r.created, CreatedBy: "/" + f.name})
	}
	var err error
	if manifest.Config, err = l.addJSON(ocispec.MediaTypeImageConfig, image); err != nil {
		return manifest.Config, err
	}
	desc, err := l.addJSON(ocispec.MediaTypeImageManifest, manifest)
	desc.Platform = &platform
	return desc, err
}

func (l layout) addLayer(created time.Time, f file) (ocispec.Descriptor, digest.Digest, error) {
	data, err := tarOf(created, withDirectories([]file{f}))
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	zipped, err := zip(data)
	return l.add(ocispec.MediaTypeImageLayerGzip, zipped), digest.FromBytes(data), err
}

// config is that of Dockerfile; a test compares them.
func (r release) config() ocispec.ImageConfig {
	return ocispec.ImageConfig{
		User:       "65532:65532",
		Env:        []string{"PATH=/usr/bin", "HOME=/"},
		Entrypoint: []string{"/usr/bin/nestctl"},
		Labels:     r.labels(),
	}
}

const home = "https://github.com/nestedoci/nested"

func (r release) labels() map[string]string {
	labels := map[string]string{
		ocispec.AnnotationTitle:       "nested",
		ocispec.AnnotationDescription: "Images and artifacts below an index, each in a repository of its own: nestctl, with the gateway and the front for registries",
		ocispec.AnnotationVersion:     r.version,
		ocispec.AnnotationCreated:     r.created.Format(time.RFC3339),
		ocispec.AnnotationSource:      home,
		ocispec.AnnotationURL:         home,
		ocispec.AnnotationLicenses:    "Apache-2.0",
	}
	if r.revision != "" {
		labels[ocispec.AnnotationRevision] = r.revision
	}
	return labels
}
