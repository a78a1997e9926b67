package remotes_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOneOfEach: what there is one of has no second one in another file.
func TestOneOfEach(t *testing.T) {
	for _, one := range []struct {
		what, pattern string
		files         []string
	}{
		{"reader of a registry's error body", `\bErrors +\[\]`, []string{"remotes/registry/complaint.go"}},
		{"reader of a Link header", `(Get|Values)\("Link"\)`, []string{"remotes/registry/pagelink.go"}},
		{"reader of a media type", `mime\.ParseMediaType\(`, []string{"remotes/registry/mediatype.go"}},
		{"reader of Retry-After", `Get\("Retry-After"\)`, []string{"internal/retry/retry.go"}},
		{"protocol of the kubelet's plugins", `"CredentialProvider(Request|Response)"`, []string{"remotes/auth/kubeletprotocol.go"}},
		{"reader of the API's paths", `Cut(Prefix)?\(.*"/v2/"\)|Cut(Suffix)?\(.*/blobs`, []string{"internal/apipath/apipath.go"}},
		{"maker of requests", `http\.NewRequest`, []string{
			"remotes/registry/request.go",
			"remotes/auth/token.go",      // to a token endpoint
			"internal/doctor/gateway.go", // to the gateway
		}},
	} {
		pattern := regexp.MustCompile(one.pattern)
		var found []string
		for _, file := range sources(t) {
			data, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Fatal(err)
			}
			if pattern.Match(data) {
				found = append(found, file)
			}
		}
		if want := slices.Sorted(slices.Values(one.files)); !slices.Equal(found, want) {
			t.Errorf("%s: found in %q, want %q", one.what, found, want)
		}
	}
}

// TestPackagesAreSmall: no package is larger than can be read in a morning, no file than can be kept in mind, and the
// command line holds flags, printing and exit statuses. In lines, without tests.
func TestPackagesAreSmall(t *testing.T) {
	const mostOfFile = 350
	most := func(dir string) int {
		if dir == "cmd/nestctl" {
			return 2600
		}
		return 3600
	}
	lines := map[string]int{}
	for _, file := range sources(t) {
		data, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		n := bytes.Count(data, []byte("\n"))
		if lines[filepath.Dir(file)] += n; n > mostOfFile {
			t.Errorf("%s has %d lines, %d at most", file, n, mostOfFile)
		}
	}
	for dir, n := range lines {
		if n > most(dir) {
			t.Errorf("%s has %d lines, %d at most", dir, n, most(dir))
		}
	}
}

// sources are the files of the programs, but for the rooms that are for tests, sorted.
func sources(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, top := range []string{"cmd", "config", "internal", "plugin", "remotes"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && strings.HasSuffix(d.Name(), "test") {
				return fs.SkipDir
			}
			if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				files = append(files, filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator))))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(files)
	return files
}
