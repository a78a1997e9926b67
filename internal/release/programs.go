package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// program is one that is released.
type program struct {
	name, summary, description string
	only                       []string // platforms; empty for all
	units                      bool     // has systemd units and configuration
}

func programs() []program {
	return []program{
		{
			name:    "nestctl",
			summary: "pull, publish and serve nested bundles of OCI registries",
			description: "Nested bundles are image indexes whose members live in child repositories. nestctl pulls,\n" +
				"publishes and copies them, and lets containerd, Docker, podman and other programs pull them.",
			units: true,
		},
		{
			name:    "containerd-nested",
			summary: "containerd that pulls nested bundles of OCI registries",
			description: "containerd with a plugin that follows child namespaces, in place of containerd's own program.\n" +
				"The shims and ctr stay as they are.",
			only: []string{"linux/amd64", "linux/arm64"},
		},
	}
}

// build is a program for a platform.
type build struct {
	program
	platform, os, arch string
}

// builds are those of all programs for some platforms.
func builds(platforms []string) ([]build, error) {
	var all []build
	for _, p := range programs() {
		for _, platform := range platforms {
			system, arch, ok := strings.Cut(platform, "/")
			if !ok {
				return nil, fmt.Errorf("platform %q: must be OS/ARCH, such as linux/amd64", platform)
			}
			if len(p.only) == 0 || slices.Contains(p.only, platform) {
				all = append(all, build{program: p, platform: platform, os: system, arch: arch})
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("platforms: none is named")
	}
	return all, nil
}

// file is the program's name on its platform.
func (b build) file() string {
	if b.os == "windows" {
		return b.name + ".exe"
	}
	return b.name
}

// path is where the program is built.
func (s source) path(b build) string {
	return filepath.Join(s.root, "bin", "release", b.os+"_"+b.arch, b.file())
}

// dist is the path of a file of the release: nestctl_1.2.3_linux_amd64 and what follows.
func (s source) dist(b build, ending string) string {
	return filepath.Join(s.root, "dist", strings.Join([]string{b.name, s.version[1:], b.os, b.arch}, "_")+ending)
}

// build builds a program. Nothing of this machine may decide about its bytes: so there is no C, and what go env says of
// this user is overridden. The lowest processor of each kind is supported; GOARM=6 is that of every Raspberry Pi.
func (s source) build(ctx context.Context, b build) error {
	args := []string{
		"build", "-trimpath", "-buildvcs=true", "-mod=readonly", "-tags=" + s.tags,
		"-ldflags=-s -w -X main.version=" + s.version, "-o", s.path(b), "./cmd/" + b.name,
	}
	cmd := s.command(ctx, "go", args...)
	cmd.Stdout = os.Stdout
	cmd.Env = append(cmd.Env, "GOOS="+b.os, "GOARCH="+b.arch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off",
		"GOAMD64=v1", "GOARM64=v8.0", "GOARM=6", "GOPPC64=power8", "GORISCV64=rva20u64", "GOFIPS140=off")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build of %s for %s: %w", b.name, b.platform, err)
	}
	return os.Chmod(s.path(b), 0o755) //nolint:gosec // programs are for everybody
}
