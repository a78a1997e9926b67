package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// newRepository makes one with two commits, of which the first has the tag v1.0.0, and works in it.
func newRepository(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, line := range []string{
		"init -q", "-c user.name=t -c user.email=t@t commit -q --allow-empty -m one", "tag v1.0.0",
		"-c user.name=t -c user.email=t@t commit -q --allow-empty -m two", "tag v1.1.0", "tag 1.2.0",
	} {
		if out, err := exec.Command("git", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", line, err, out)
		}
	}
}

// TestRefused: what nobody could build again from the tag is not released, and the error says what to do.
func TestRefused(t *testing.T) {
	newRepository(t)
	for version, want := range map[string]string{
		"v1.1.0":            "",
		"v1.0.0":            "git checkout v1.0.0",
		"v1.2.0":            "git tag -s v1.2.0",
		"1.2.0":             "use VERSION=v1.2.3",
		"v1.2":              "use VERSION=v1.2.3",
		"v1.2.0-3-gabcdef0": "SNAPSHOT=1",
		"":                  "use VERSION=v1.2.3",
	} {
		_, err := readSource(t.Context(), version, false)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", version, err, want)
		}
	}
	if err := os.WriteFile("new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSource(t.Context(), "v1.1.0", false); err == nil || !strings.Contains(err.Error(), "?? new") {
		t.Errorf("changed tree: %v", err)
	}
	if out, err := exec.Command("git", "config", "status.showUntrackedFiles", "no").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := readSource(t.Context(), "v1.1.0", false); err == nil {
		t.Error("a file that git does not show is released, and in no tag")
	}
}

// TestSnapshot: everything can be built for a try, under a version that packages take.
func TestSnapshot(t *testing.T) {
	newRepository(t)
	if err := os.WriteFile("new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSource(t.Context(), "v1.0.0-3-gabcdef0-dirty", true); err != nil {
		t.Error(err)
	}
	if _, err := readSource(t.Context(), "abcdef0", true); err == nil {
		t.Error("a commit is taken for a version")
	}
}

// TestPlatforms: containerd-nested is for some of nestctl's platforms; what is no platform is not ignored.
func TestPlatforms(t *testing.T) {
	if _, err := builds([]string{"linux/amd64", "linux"}); err == nil || !strings.Contains(err.Error(), `"linux"`) {
		t.Error(err)
	}
	if _, err := builds(nil); err == nil {
		t.Error("a release of nothing is made")
	}
	all, err := builds([]string{"linux/amd64", "windows/amd64", "linux/arm64"})
	if err != nil || len(all) != 5 || all[1].file() != "nestctl.exe" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestSums: checksums are those that sha256sum -c checks, in the directories' order.
func TestSums(t *testing.T) {
	newRepository(t)
	s, err := readSource(t.Context(), "v1.1.0", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "image/a", "image/blobs/c"} {
		if err := writeFile(filepath.Join(s.root, "dist", name), []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // what it has written itself is no part of what it writes
		if err := s.sums(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.Command("sha256sum", "--check", "--strict", sumsFile)
	check.Dir = filepath.Join(s.root, "dist")
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK\n") != 4 {
		t.Errorf("%v\n%s", err, out)
	}
}
