package auth

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// StoresOptions says where [Stores] looks and how it runs helpers.
type StoresOptions struct {
	// Inline is a configuration given as text, the content of the variable
	// DOCKER_AUTH_CONFIG. It comes before the files.
	Inline Secret
	// Files are Docker configuration files, or directories with a config.json,
	// in the order in which they are searched. One that does not exist is
	// skipped.
	Files []string
	// PassedOver are those of Files that are skipped, without an error, when
	// this process may not read them. docker does so with its own file.
	PassedOver []string
	// Interactive lets helpers use the terminal, so that pinentry can ask.
	// Otherwise they run in a session without one.
	Interactive bool
	// HelperTimeout bounds one run of a helper; 0 means 30 s.
	HelperTimeout time.Duration
	// Metrics counts the runs of helpers, when given.
	Metrics *Metrics
}

// StoresFromEnvironment returns the options that the environment specifies: DOCKER_AUTH_CONFIG; REGISTRY_AUTH_FILE or
// else $DOCKER_CONFIG/config.json (without that variable ~/.docker/config.json), and where podman, buildah and skopeo
// keep their logins: $XDG_RUNTIME_DIR/containers/auth.json (without that variable, on Linux,
// /run/containers/UID/auth.json) and $XDG_CONFIG_HOME/containers/auth.json (without it, in ~/.config).
func StoresFromEnvironment() StoresOptions {
	o := StoresOptions{Inline: Secret(os.Getenv(inlineVariable))}
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		o.Files = []string{file}
		return o
	}
	if dir := inHome("DOCKER_CONFIG", ".docker"); dir != "" {
		o.Files = append(o.Files, filepath.Join(dir, "config.json"))
		o.PassedOver = slices.Clone(o.Files)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		o.Files = append(o.Files, filepath.Join(dir, "containers", "auth.json"))
	} else if runtime.GOOS == "linux" {
		o.Files = append(o.Files, fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid()))
	}
	if dir := inHome("XDG_CONFIG_HOME", ".config"); dir != "" {
		o.Files = append(o.Files, filepath.Join(dir, "containers", "auth.json"))
	}
	return o
}

// inHome returns the directory that a variable names, or else one in the home directory; "" when there is no home.
func inHome(variable, name string) string {
	if dir := os.Getenv(variable); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, name)
}

const inlineVariable = "DOCKER_AUTH_CONFIG"

// Stores is the [Source] over Docker's credential stores.
//
// Configurations are searched in order, and within a configuration the keys from the most specific to the registry:
// host/a/b, host/a, host. At a key its credHelpers entry counts first, at the registry then credsStore, then auths.
// After these come keys of auths whose host is a pattern (*.example.com), as the kubelet accepts them in its own file.
// For an auths entry without a secret, as docker login leaves it, credsStore is run for that key. When a helper knows
// nothing of a key the search goes on; when one fails it ends with an error. Files are read again when they change.
type Stores struct {
	inline  Secret
	files   []*configFile
	helpers helpers
}

var (
	_ Source    = (*Stores)(nil)
	_ Forgetter = (*Stores)(nil)
)

// NewStores returns the source that the options describe. Nothing is read before the first Lookup.
func NewStores(o StoresOptions) *Stores {
	s := &Stores{inline: o.Inline, helpers: helpers{
		timeout:     o.HelperTimeout,
		interactive: o.Interactive,
		metrics:     o.Metrics,
	}}
	if s.helpers.timeout == 0 {
		s.helpers.timeout = helperTimeout
	}
	if s.helpers.metrics == nil {
		s.helpers.metrics = new(Metrics)
	}
	for _, path := range o.Files {
		f := &configFile{path: path, passedOver: slices.Contains(o.PassedOver, path)}
		if f.passedOver {
			f.store = DefaultStore(runtime.GOOS)
		}
		s.files = append(s.files, f)
	}
	return s
}

// Format implements [fmt.Formatter]: what the stores keep does not print.
func (s *Stores) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "credential stores") }

// Lookup implements [Source].
func (s *Stores) Lookup(ctx context.Context, repository Repository) (Credential, error) {
	var looked []string // where, and what came of it
	sources := s.sources()
	for _, load := range sources {
		c, err := load()
		if err != nil {
			return Credential{}, &LookupError{repository, err}
		}
		if c == nil {
			continue
		}
		credential, err := s.lookupIn(ctx, c, repository)
		if err != nil {
			return Credential{}, &LookupError{repository, err}
		}
		if !credential.Anonymous() {
			return credential, nil
		}
		looked = append(looked, cmp.Or(credential.Source, c.unread, "no key for it in "+c.name))
	}
	if len(sources) == 0 {
		looked = []string{"there is no Docker configuration to ask"}
	}
	if looked == nil {
		looked = s.missing()
	}
	return Credential{Source: "none: " + strings.Join(looked, ", ")}, nil
}

// missing names the files when none of them exists: of a user's, docker's own alone.
func (s *Stores) missing() []string {
	own := slices.DeleteFunc(slices.Clone(s.files), func(f *configFile) bool { return !f.passedOver })
	if len(own) == 0 {
		own = s.files
	}
	all := make([]string, len(own))
	for i, f := range own {
		all[i] = "no file " + f.path
	}
	return all
}

// Forget implements [Forgetter].
func (s *Stores) Forget(credential Credential) { s.helpers.forget(credential) }

func (s *Stores) sources() []func() (*config, error) {
	var loads []func() (*config, error)
	if s.inline != "" {
		loads = append(loads, func() (*config, error) { return parseConfig(inlineVariable, []byte(s.inline)) })
	}
	for _, f := range s.files {
		loads = append(loads, f.load)
	}
	return loads
}

// lookupIn searches one configuration. The Source of an anonymous credential names the helper that was run.
func (s *Stores) lookupIn(ctx context.Context, c *config, repository Repository) (Credential, error) {
	host := canonicalHost(repository.Host())
	helperSource := ""
	for path := repository.Name(); ; path = above(path) {
		credential, err := s.lookupAt(ctx, c, host, path)
		if err != nil || !credential.Anonymous() {
			return credential, err
		}
		if helperSource = cmp.Or(helperSource, credential.Source); path == "" {
			break
		}
	}
	for _, key := range c.patterns(repository) {
		credential, err := c.credential(key)
		if err != nil || !credential.Anonymous() {
			return credential, err
		}
	}
	return Credential{Source: helperSource}, nil
}

// lookupAt looks up one key: a path on a registry, or with path "" the registry.
func (s *Stores) lookupAt(ctx context.Context, c *config, host, path string) (none Credential, _ error) {
	if key, ok := pick(c.CredHelpers, host, path); ok {
		helper, err := c.helperEntry(key)
		if err != nil {
			return Credential{}, err
		}
		if none, err = s.helpers.get(ctx, c.name, helper, server(key, host, path)); err != nil || !none.Anonymous() {
			return none, err
		}
	}
	key, marked := pick(c.Auths, host, path)
	if path == "" && c.CredsStore != "" {
		if !marked {
			key = host
		}
		var err error
		if none, err = s.helpers.get(ctx, c.name, c.CredsStore, server(key, host, path)); err != nil || !none.Anonymous() {
			return none, err
		}
	}
	if !marked {
		return none, nil
	}
	credential, err := c.credential(key)
	if err != nil {
		return Credential{}, err
	}
	if credential.Anonymous() && path != "" && c.CredsStore != "" {
		return s.helpers.get(ctx, c.name, c.CredsStore, server(key, host, path))
	}
	if credential.Anonymous() {
		credential.Source = cmp.Or(none.Source, credential.Source+" without a secret")
	}
	return credential, nil
}

// server returns the server name to pass to a helper: the key as it is spelled,
// or for Docker Hub the one that docker uses.
func server(key, host, path string) string {
	if host == "docker.io" && path == "" {
		return hubServer
	}
	return key
}

// above is a path without its last component.
func above(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }
