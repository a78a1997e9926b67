package main

import (
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// bundle is a nested index as it was published.
type bundle struct {
	about           string
	repository, tag string
	members         []string // child namespaces
	flags           []string // of a pull that brings everything
	root            ocispec.Descriptor
}

// publish fills the registry with the two examples of the issue.
func publish(r *registrytest.Registry) []bundle {
	return []bundle{publishImages(r), publishPackages(r)}
}

var (
	amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ocispec.Platform{OS: "linux", Architecture: "arm64"}
)

// publishImages publishes what one run of ko would push: an image for each program, one of them for
// two platforms, and one index over all of them.
func publishImages(r *registrytest.Registry) bundle {
	b := bundle{
		about:      "The first bundle is one ko build of three images, under one tag.",
		repository: "org/ko-build",
		tag:        "v1",
		members:    []string{"controller", "webhook", "cli"},
		flags:      []string{"--all-platforms"},
	}
	image := func(name string, p ocispec.Platform) ocispec.Descriptor {
		return r.ImageFor(p, b.repository+"/"+name, koLayers(name, p)...)
	}
	controller := r.Index(b.repository+"/controller", image("controller", amd64), image("controller", arm64))
	b.root = r.Index(b.repository,
		registrytest.Member(controller, "controller"),
		registrytest.Member(image("webhook", amd64), "webhook"),
		registrytest.Member(image("cli", amd64), "cli"),
	)
	r.Tag(b.repository, b.tag, b.root.Digest)
	return b
}

// koLayers are a base that all images share, static data, and the program.
func koLayers(name string, p ocispec.Platform) [][]byte {
	program := fmt.Sprintf("%s for %s/%s", name, p.OS, p.Architecture)
	return [][]byte{
		registrytest.TarLayer(map[string]string{"etc/passwd": "nonroot:x:65532:65532::/home/nonroot:/sbin/nologin\n"}),
		registrytest.TarLayer(map[string]string{"var/run/ko/LICENSE": name + " is free software.\n"}),
		registrytest.TarLayer(map[string]string{"ko-app/" + name: program}),
	}
}

// publishPackages publishes an immutable package repository of two RPM-like artifacts.
func publishPackages(r *registrytest.Registry) bundle {
	const rpm = "application/x-rpm"
	b := bundle{
		about:      "The second is an immutable package repository: two RPMs, as artifacts.",
		repository: "org/myrpmrepo",
		tag:        "2026-11",
		members:    []string{"bash", "zlib"},
	}
	var members []ocispec.Descriptor
	for _, name := range b.members {
		file := r.PutBlob(b.repository+"/"+name, rpm, []byte("\xed\xab\xee\xdb "+name))
		file.Annotations = map[string]string{ocispec.AnnotationTitle: name + "-1.0-1.x86_64.rpm"}
		members = append(members, registrytest.Member(r.Artifact(b.repository+"/"+name, rpm, file), name))
	}
	b.root = r.Index(b.repository, members...)
	r.Tag(b.repository, b.tag, b.root.Digest)
	return b
}
