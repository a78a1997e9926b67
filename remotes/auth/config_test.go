package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Go visits maps in random order; what is found must not depend on it.
func TestLookupIsDeterministic(t *testing.T) {
	t.Parallel()
	config := `{"auths":{"https://h/a":` + u1 + `,"h/b":` + u2 + `,"http://h":` + u3 + `,"https://h":` + u1 + `,"h/":` + u2 + `,
		"docker.io":` + u1 + `,"index.docker.io":` + u2 + `,"registry-1.docker.io":` + u3 + `}}`
	for name, want := range map[string]string{
		"h/a":         `key "https://h/a"`,
		"h/b/c":       `key "h/b"`,
		"h/x":         `key "h/"`,
		"docker.io/x": `key "docker.io"`,
	} {
		for range 1000 {
			stores := NewStores(StoresOptions{Inline: Secret(config)})
			credential, err := stores.Lookup(ctx(), repository(t, name))
			if err != nil || !strings.HasSuffix(credential.Source, want) {
				t.Fatalf("%s: got %v %v, want %s", name, credential, err, want)
			}
		}
	}
}

func TestSplitKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"h":                           "h  0",
		"h/":                          "h  0",
		"h:5000":                      "h:5000  0",
		"h/a/b":                       "h a/b 0",
		"h/v1":                        "h v1 0",
		"https://h":                   "h  1",
		"https://h/v1/":               "h  1",
		"https://h/v1/a":              "h v1/a 1",
		"http://h/v2":                 "h  2",
		"http://h/a/":                 "h a 2",
		"ftp://h":                     "ftp: /h 0",
		"https://index.docker.io/v1/": "docker.io  -1",
		"registry-1.docker.io":        "docker.io  0",
		"":                            "  0",
	} {
		host, path, rank := SplitKey(key)
		if got := fmt.Sprintf("%s %s %d", host, path, rank); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func TestConfigFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.json")
	stores := NewStores(StoresOptions{Files: []string{path}})
	look := func() string {
		t.Helper()
		credential, err := stores.Lookup(ctx(), repository(t, "reg/a"))
		if err != nil {
			t.Fatal(err)
		}
		return credential.Username
	}

	if got := look(); got != "" {
		t.Errorf("without a file: %q", got)
	}
	for _, user := range []string{"u1", "u2", "u3"} { // contents of the same size
		writeFile(t, path, `{"auths":{"reg":`+entry(user)+`}}`)
		if got := look(); got != user {
			t.Errorf("after rotation: %q, want %q", got, user)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != "" {
		t.Errorf("after removal: %q", got)
	}
}

// Editors and scripts write a file in place; its size or time tells.
func TestConfigFileWrittenInPlace(t *testing.T) {
	t.Parallel()
	path := writeFile(t, filepath.Join(t.TempDir(), "config.json"), `{}`)
	file := &configFile{path: path}
	hour := must[fs.FileInfo](t)(os.Stat(path)).ModTime()
	for _, test := range []struct{ content, store string }{
		{`{"credsStore":"a"}`, "a"},
		{`{"credsStore":"b"}`, "b"},           // only the time differs
		{`{"credsStore":"longer"}`, "longer"}, // only the size differs
	} {
		if test.store != "longer" {
			hour = hour.Add(time.Hour)
		}
		if err := errors.Join(os.WriteFile(path, []byte(test.content), 0o600), os.Chtimes(path, hour, hour)); err != nil {
			t.Fatal(err)
		}
		if c := must[*config](t)(file.load()); c.CredsStore != test.store {
			t.Errorf("got %q, want %q", c.CredsStore, test.store)
		}
	}
}

func TestConfigFileIsParsedOnce(t *testing.T) {
	t.Parallel()
	file := &configFile{path: writeFile(t, filepath.Join(t.TempDir(), "config.json"), `{}`)}
	first := must[*config](t)(file.load())
	if second := must[*config](t)(file.load()); first != second {
		t.Error("an unchanged file was parsed again")
	}
}

// What docker takes for "no credentials" is no error.
func TestConfigFileNone(t *testing.T) {
	t.Parallel()
	empty := writeFile(t, filepath.Join(t.TempDir(), "empty.json"), "")
	for _, path := range []string{empty, "/dev/null", filepath.Join(empty, "absent"), filepath.Join(t.TempDir(), "absent")} {
		credential, err := NewStores(StoresOptions{Files: []string{path}}).Lookup(ctx(), repository(t, "reg/a"))
		if err != nil || !credential.Anonymous() {
			t.Errorf("%s: %v, %v", path, credential, err)
		}
	}
}

func TestConfigFileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	huge := writeFile(t, filepath.Join(dir, "huge.json"), `{"x":"`+strings.Repeat("x", maxConfig)+`"}`)
	bom := writeFile(t, filepath.Join(dir, "bom.json"), "\ufeff{}")
	trailing := writeFile(t, filepath.Join(dir, "trailing.json"), "{} "+secret)
	odd := oddDirectory(t)
	for path, want := range map[string]string{
		huge:     "is larger than",
		bom:      "is not a Docker configuration",
		trailing: "is not a Docker configuration",
		odd:      "is not a file",
	} {
		_, err := NewStores(StoresOptions{Files: []string{path}}).Lookup(ctx(), repository(t, "reg/a"))
		wantError(t, err, "credential for reg/a: ", path, want)
	}
}

// A file that cannot be read is an error although others could be.
func TestConfigFileUnreadable(t *testing.T) {
	t.Parallel()
	odd := oddDirectory(t)
	second := writeFile(t, filepath.Join(odd, "second.json"), `{"auths":{"reg":`+u1+`}}`)
	_, err := NewStores(StoresOptions{Files: []string{odd, second}}).Lookup(ctx(), repository(t, "reg/a"))
	wantError(t, err, odd, "is not a file")
}

// oddDirectory has a directory for its config.json, reading which fails for everybody, even root.
func oddDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestConfigDirectory: a directory stands for the config.json in it, also when that comes later.
func TestConfigDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "docker")
	stores := NewStores(StoresOptions{Files: []string{dir}})
	for _, want := range []string{"", "", "u1"} {
		credential, err := stores.Lookup(ctx(), repository(t, "reg/a"))
		if err != nil || credential.Username != want {
			t.Errorf("got %q, %v, want %q", credential.Username, err, want)
		}
		if _, err := os.Stat(dir); err != nil {
			err = os.Mkdir(dir, 0o700)
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		writeFile(t, filepath.Join(dir, "config.json"), `{"auths":{"reg":`+u1+`}}`)
	}
}

func TestStoresFromEnvironment(t *testing.T) {
	names := []string{"DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"}
	// Without XDG_RUNTIME_DIR podman has a file of the user's.
	users := fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid())
	for _, test := range []struct {
		values [6]string
		inline string
		files  []string
		passed int // of them, that may be unreadable: docker's
	}{
		{values: [6]string{"", "", "", "/home", ""}, files: []string{"/home/.docker/config.json", users, "/home/.config/containers/auth.json"}, passed: 1},
		{values: [6]string{"", "", "/docker", "/home", ""}, files: []string{"/docker/config.json", users, "/home/.config/containers/auth.json"}, passed: 1},
		{values: [6]string{"", "", "/docker", "/home", "/run"}, files: []string{"/docker/config.json", "/run/containers/auth.json", "/home/.config/containers/auth.json"}, passed: 1},
		{values: [6]string{"", "", "/docker", "/home", "/run", "/config"}, files: []string{"/docker/config.json", "/run/containers/auth.json", "/config/containers/auth.json"}, passed: 1},
		{values: [6]string{"", "", "", "", "/run", "/config"}, files: []string{"/run/containers/auth.json", "/config/containers/auth.json"}},
		{values: [6]string{"", "/auth.json", "/docker", "/home", "/run"}, files: []string{"/auth.json"}},
		{values: [6]string{"{}", "/auth.json", "", "/home", ""}, inline: "{}", files: []string{"/auth.json"}},
		{values: [6]string{"{}", "", "", "", ""}, inline: "{}", files: []string{users}},
	} {
		for i, name := range names {
			t.Setenv(name, test.values[i])
		}
		got := StoresFromEnvironment()
		want := slices.DeleteFunc(slices.Clone(test.files), func(f string) bool { return f == users && runtime.GOOS != "linux" })
		if string(got.Inline) != test.inline || !slices.Equal(got.Files, want) || !slices.Equal(got.PassedOver, want[:test.passed]) || got.Interactive {
			t.Errorf("%q: got %q %q %q", test.values, got.Inline, got.Files, got.PassedOver)
		}
	}
}

// TestDefaultStore: docker's own file without credentials and helpers stands for the system's helper, if it is installed,
// and no other file does.
func TestDefaultStore(t *testing.T) {
	t.Setenv("PATH", helperDir)
	if got := DefaultStore("darwin") + DefaultStore("windows") + DefaultStore("linux"); got != "" {
		t.Errorf("without a helper %q", got)
	}
	for goos, store := range map[string]string{"darwin": "osxkeychain", "windows": "wincred"} {
		if err := installHelper(helperDir, store, answering); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(filepath.Join(helperDir, "docker-credential-"+store)) })
		if got := DefaultStore(goos); got != store {
			t.Errorf("%s: %q", goos, got)
		}
		for text, want := range map[string]bool{
			"":                           true,
			`{"currentContext":"x"}`:     true,
			`{"auths":{}}`:               true,
			`{"auths":{"x":{}}}`:         false,
			`{"credHelpers":{"x":"no"}}`: false,
			`{"credsStore":"fake"}`:      false,
		} {
			file := filepath.Join(t.TempDir(), "config.json")
			if text != "" {
				writeFile(t, file, text)
			}
			c, err := (&configFile{path: file, store: DefaultStore(goos)}).load()
			if err != nil || (c != nil && c.CredsStore == store) != want {
				t.Errorf("%s, %s: %+v, %v", goos, text, c, err)
			}
			if other, err := (&configFile{path: file}).load(); err != nil || text == "" && other != nil || other != nil && other.CredsStore == store {
				t.Errorf("another file, %s: %+v, %v", text, other, err)
			}
		}
	}
	if got := DefaultStore("linux"); got != "" {
		t.Errorf("linux: %q", got)
	}
	file := filepath.Join(t.TempDir(), "none.json")
	stores := NewStores(StoresOptions{Files: []string{file}, PassedOver: []string{file}})
	stores.files[0].store = DefaultStore("darwin")
	credential, err := stores.Lookup(ctx(), repository(t, "reg/a"))
	if err != nil || credential.Username != "user" || !strings.Contains(credential.Source, "docker-credential-osxkeychain") {
		t.Errorf("%s, %v", describe(credential), err)
	}
}
