package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
)

// maxConfig bounds a configuration file; docker's own are a few KiB.
const maxConfig = 4 << 20

// hubServer is the key and the helper's server name that docker uses for Docker Hub.
const hubServer = "https://index.docker.io/v1/"

// config is the part of a Docker configuration file that holds credentials. Entries stay raw, so that an invalid one
// affects only the repositories that need it.
type config struct {
	name        string                     // the file's path, or the variable's name
	unread      string                     // why the file was not read
	Auths       map[string]json.RawMessage `json:"auths"`
	CredHelpers map[string]json.RawMessage `json:"credHelpers"`
	CredsStore  string                     `json:"credsStore"`
}

func parseConfig(name string, data []byte) (*config, error) {
	c := &config{name: name}
	if len(data) == 0 {
		return c, nil // as docker has it
	}
	if err := json.Unmarshal(data, c); err != nil {
		// The cause is not wrapped: it may quote what stands in the file.
		return nil, fmt.Errorf("%s is not a Docker configuration: it does not parse as JSON of that shape", name)
	}
	return c, nil
}

// authEntry decodes one entry of auths as docker does.
func (c *config) authEntry(key string) (types.AuthConfig, error) {
	one, err := json.Marshal(map[string]any{"auths": map[string]json.RawMessage{key: c.Auths[key]}})
	if err == nil {
		file := configfile.New("")
		if err = file.LoadFromReader(bytes.NewReader(one)); err == nil {
			return file.AuthConfigs[key], nil
		}
	}
	return types.AuthConfig{}, fmt.Errorf("%s: the entry %q of auths is not valid; log in again", c.name, key)
}

// credential returns the credential in one entry of auths.
func (c *config) credential(key string) (Credential, error) {
	entry, err := c.authEntry(key)
	if err != nil {
		return Credential{}, err
	}
	source := fmt.Sprintf("%s, key %q", c.name, key)
	credential := UserCredential(entry.Username, entry.Password, source)
	if entry.IdentityToken != "" {
		credential = Credential{IdentityToken: Secret(entry.IdentityToken), Source: source}
	}
	credential.RegistryToken = Secret(entry.RegistryToken)
	return credential, nil
}

// helperEntry decodes one entry of credHelpers.
func (c *config) helperEntry(key string) (string, error) {
	var helper string
	if err := json.Unmarshal(c.CredHelpers[key], &helper); err != nil {
		return "", fmt.Errorf("%s: the entry %q of credHelpers is not a string", c.name, key)
	}
	return helper, nil
}

// pick returns the key of m that stands for a path on a registry, as spelled
// in the file. Of several spellings the exact one wins, then https, then http.
func pick[V any](m map[string]V, host, path string) (spelling string, found bool) {
	best := 0
	for s := range m {
		h, p, order := SplitKey(s)
		if path == "" && isAPI(p) { // the registry's, if nobody has a repository of that name
			p, order = "", 3
		}
		if h != host || p != path {
			continue
		}
		if !found || order < best || order == best && s < spelling {
			spelling, best, found = s, order, true
		}
	}
	return spelling, found
}

// isAPI reports whether a key's path is that of the registry's API, with which
// docker and the kubelet write the key of a registry.
func isAPI(path string) bool { return path == "v1" || path == "v2" }

// SplitKey reads a key of auths or credHelpers: host[:port][/path], perhaps with a scheme in front, and with the host's
// name as docker.io for all of Docker Hub's. Of several spellings of the same key, the one with the lowest order wins.
func SplitKey(spelling string) (host, path string, order int) {
	rest, order := spelling, 0
	if r, ok := strings.CutPrefix(spelling, "https://"); ok {
		rest, order = r, 1
	} else if r, ok := strings.CutPrefix(spelling, "http://"); ok {
		rest, order = r, 2
	}
	host, path, _ = strings.Cut(rest, "/")
	path = strings.TrimSuffix(path, "/")
	if order > 0 && isAPI(path) {
		path = ""
	}
	if spelling == hubServer {
		order = -1
	}
	return canonicalHost(host), path, order
}

// patterns returns the keys of auths that are patterns of the kubelet
// (*.example.com:5000/team) and fit a repository, in the kubelet's order.
func (c *config) patterns(repository Repository) []string {
	var fit []string
	for key := range c.Auths {
		host, path, _ := SplitKey(key)
		if rest, ok := strings.CutPrefix(path, "v2/"); ok {
			path = rest
		}
		if strings.ContainsAny(host, "*?[") && matchesImage(host+"/"+path, repository) {
			fit = append(fit, key)
		}
	}
	slices.SortFunc(fit, func(a, b string) int { return strings.Compare(withoutScheme(b), withoutScheme(a)) })
	return fit
}

func withoutScheme(key string) string {
	_, after, found := strings.Cut(key, "://")
	if !found {
		return key
	}
	return after
}

// canonicalHost folds Docker Hub's names into one.
func canonicalHost(host string) string {
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// configFile reads a file again when it has changed.
type configFile struct {
	path       string
	passedOver bool   // when it may not be read: docker's own
	store      string // [DefaultStore], of docker's own

	mu   sync.Mutex
	info fs.FileInfo
	last *config
}

// load returns nil when there is no such file. For a directory it reads the config.json in it.
func (f *configFile) load() (*config, error) {
	c, err := f.read()
	if f.passedOver && errors.Is(err, fs.ErrPermission) {
		return &config{name: f.path, unread: err.Error()}, nil
	}
	if err == nil && f.store != "" && (c == nil || len(c.Auths)+len(c.CredHelpers) == 0 && c.CredsStore == "") {
		return &config{name: f.path, CredsStore: f.store}, nil
	}
	return c, err
}

// DefaultStore is the helper that docker takes for credsStore when its file has no credentials and names no helper: the
// system's own, as in runtime.GOOS, if it is installed; "" for none. On Linux docker guesses, and nobody follows it here.
func DefaultStore(goos string) string {
	store := map[string]string{"darwin": "osxkeychain", "windows": "wincred"}[goos]
	if _, err := exec.LookPath("docker-credential-" + store); err != nil {
		return ""
	}
	return store
}

func (f *configFile) read() (*config, error) {
	path := f.path
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, "config.json")
		info, err = os.Stat(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), err == nil && info.Mode()&fs.ModeCharDevice != 0:
		return nil, nil // a device: /dev/null, the way to say none
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return f.last, nil
	}
	data, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxConfig)
	}
	parsed, err := parseConfig(path, data)
	if err != nil {
		return nil, err
	}
	f.info, f.last = info, parsed
	return parsed, nil
}
