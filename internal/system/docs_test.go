package system

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// match is the group of a pattern in a file; there has to be one.
func match(t *testing.T, path, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)` + pattern).FindStringSubmatch(read(t, path))
	if found == nil {
		t.Fatalf("%s has no %s", path, pattern)
	}
	return found[1]
}

// TestCompatibilityVersions: docs/compatibility.md has the versions that are pinned, each in the row that it belongs to.
func TestCompatibilityVersions(t *testing.T) {
	t.Parallel()
	document := read(t, "docs/compatibility.md")
	pin := func(name string) string { return match(t, "Makefile", `^`+name+` *:= *(.*)$`) }
	minor := regexp.MustCompile(`^[0-9]+\.[0-9]+`)
	for row, want := range map[string][]string{
		"containerd with the plugin":                  {pin("CONTAINERD"), pin("LTS")},
		"containerd, stock, through the gateway":      append(strings.Fields(pin("MATRIX")), pin("CONTAINERD")),
		"Kubernetes":                                  {match(t, "integration/kubelet/go.mod", `^\s*k8s.io/kubernetes (v\S+)`)},
		"Docker Engine with containerd's image store": {match(t, "integration/moby/go.mod", `github.com/moby/moby/v2 (v\S+)`)},
		"Docker Engine with graph drivers":            {pin("DOCKER")},
		"podman, buildah, skopeo":                     {pin("PODMAN"), match(t, "integration/containersimage/go.mod", `go.podman.io/image/v5 (v\S+)`)},
		"BuildKit":                                    {pin("BUILDKIT")},
		"distribution (registry)":                     {pin("REGISTRY"), pin("DOCKER_REGISTRY")},
		"Go, to build and for the packages":           {minor.FindString(match(t, "go.mod", `^go (\S+)`))},
	} {
		_, rest, found := strings.Cut(document, "\n| "+row+" | ")
		tested, _, _ := strings.Cut(rest, " | ")
		if !found {
			t.Errorf("no row of %s", row)
		}
		for _, version := range want {
			if version = strings.TrimPrefix(version, "v"); !strings.Contains(tested, version) {
				t.Errorf("%s: %q does not name %s", row, tested, version)
			}
		}
	}
	for platform := range strings.FieldsSeq(pin("PLATFORMS")) {
		if !strings.Contains(document, platform) {
			t.Errorf("no platform %s", platform)
		}
	}
	for command := range instead {
		if name, _, _ := strings.Cut(command, " --"); !strings.Contains(document, "`"+name+"`") {
			t.Errorf("no command %s", command)
		}
	}
}

// TestPluginModule: what the long-term line is built with is pinned in the version that is tested.
func TestPluginModule(t *testing.T) {
	t.Parallel()
	lts := match(t, "Makefile", `^LTS *:= *(.*)$`)
	minor, _, _ := strings.Cut(strings.TrimPrefix(lts, "v2."), ".")
	if got := match(t, "cmd/containerd-nested/2."+minor+".mod", `github.com/containerd/containerd/v2 (v\S+)`); got != lts {
		t.Errorf("the Makefile has %s, the module file %s", lts, got)
	}
	if got, want := match(t, "go.mod", `github.com/containerd/containerd/v2 (v\S+)`), match(t, "Makefile", `^CONTAINERD *:= *(.*)$`); got != want {
		t.Errorf("the Makefile has %s, go.mod %s", want, got)
	}
}
