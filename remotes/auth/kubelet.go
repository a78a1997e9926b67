package auth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nestedoci/nested/internal/flight"
)

const (
	// kubeletTimeout is what the kubelet gives its plugins.
	kubeletTimeout = time.Minute
	// kubeletConfig bounds the file that lists them.
	kubeletConfig = 1 << 20
	// kubeletKeep bounds how long an answer is cached; clouds' tokens live for
	// hours.
	kubeletKeep = 12 * time.Hour
)

// KubeletOptions say where the kubelet's credential provider plugins are.
type KubeletOptions struct {
	Config  string // the kubelet's --image-credential-provider-config, one file
	Dir     string // and its --image-credential-provider-bin-dir
	Metrics *Metrics
}

// KubeletProviders is a [Source] over the kubelet's credential provider plugins
// (kubelet.config.k8s.io/v1, CredentialProviderConfig), for nodes of clouds
// that have those and no Docker credential helpers. It runs the plugins whose
// matchImages match a repository, in the order of the file and at most once at
// a time for each plugin and repository. Answers are cached for that repository
// alone, for as long as they say. A plugin that fails is an error; after one
// that answers without a credential for the repository the next one is run.
type KubeletProviders struct {
	options KubeletOptions
	answers flight.Group[kubeletKey, Credential]
}

// NewKubeletProviders returns the source. The file is read at each lookup.
func NewKubeletProviders(options KubeletOptions) *KubeletProviders {
	if options.Metrics == nil {
		options.Metrics = new(Metrics)
	}
	return &KubeletProviders{options: options}
}

type kubeletKey struct {
	provider   string
	repository Repository
}

// kubeletProvider is one plugin in the kubelet's file.
type kubeletProvider struct {
	Name                 string   `yaml:"name"`
	MatchImages          []string `yaml:"matchImages"`
	DefaultCacheDuration string   `yaml:"defaultCacheDuration"`
	APIVersion           string   `yaml:"apiVersion"`
	Args                 []string `yaml:"args"`
	Env                  []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	TokenAttributes *yaml.Node `yaml:"tokenAttributes"`
}

// Lookup implements [Source].
func (k *KubeletProviders) Lookup(ctx context.Context, repository Repository) (Credential, error) {
	providers, err := k.read()
	if err != nil {
		return Credential{}, &LookupError{Repository: repository, Err: err}
	}
	for _, p := range providers {
		if !p.matches(repository) {
			continue
		}
		credential, err := k.lookupIn(ctx, p, repository)
		if err != nil {
			return Credential{}, &LookupError{Repository: repository, Err: err}
		}
		if !credential.Anonymous() {
			return credential, nil
		}
	}
	return Credential{Source: "none: no plugin of " + k.options.Config + " has one"}, nil
}

// Forget implements [Forgetter].
func (k *KubeletProviders) Forget(credential Credential) {
	k.answers.Forget(func(_ kubeletKey, c Credential) bool { return c == credential })
}

// read reads the kubelet's file.
func (k *KubeletProviders) read() ([]kubeletProvider, error) {
	file, err := os.Open(k.options.Config)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, kubeletConfig+1))
	if err != nil {
		return nil, err
	}
	var config struct {
		Kind      string            `yaml:"kind"`
		Providers []kubeletProvider `yaml:"providers"`
	}
	if len(data) > kubeletConfig || yaml.Unmarshal(data, &config) != nil || config.Kind != "CredentialProviderConfig" {
		return nil, fmt.Errorf("%s is not a CredentialProviderConfig of the kubelet", k.options.Config)
	}
	return config.Providers, nil
}

func (p kubeletProvider) matches(repository Repository) bool {
	return slices.ContainsFunc(p.MatchImages, func(pattern string) bool { return matchesImage(pattern, repository) })
}

// matchesImage reports whether a pattern of the kubelet matches: * in a label
// of the host name stands for all or some of that label, the port has to be the
// same, and the path is a prefix, here at a slash.
func matchesImage(pattern string, repository Repository) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	host, prefix, _ := strings.Cut(pattern, "/")
	name, port := splitPort(host)
	wantName, wantPort := splitPort(canonicalHost(repository.host))
	parts, wantParts := strings.Split(name, "."), strings.Split(wantName, ".")
	if port != wantPort || len(parts) != len(wantParts) {
		return false
	}
	for i, part := range parts {
		if ok, err := path.Match(part, wantParts[i]); err != nil || !ok {
			return false
		}
	}
	return prefix == "" || repository.name == prefix || strings.HasPrefix(repository.name, prefix+"/")
}

// moreSpecific reports whether the first of two matching keys is to be
// preferred: the one with the longer path, or else the one whose host says
// more, as * sorts before what it stands for.
func moreSpecific(key, other string) bool {
	host, path, _ := SplitKey(key)
	otherHost, otherPath, _ := SplitKey(other)
	return cmp.Or(cmp.Compare(len(path), len(otherPath)), cmp.Compare(host, otherHost), cmp.Compare(other, key)) > 0
}

func splitPort(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return name, port
	}
	return host, ""
}

// lookupIn returns a plugin's cached answer, or runs it.
func (k *KubeletProviders) lookupIn(ctx context.Context, p kubeletProvider, repository Repository) (Credential, error) {
	return k.answers.Get(ctx, kubeletKey{p.Name, repository}, kubeletTimeout+time.Second,
		func(ctx context.Context) (Credential, time.Duration, error) {
			credential, keep, reason := k.run(ctx, p, repository)
			if reason != "" {
				return Credential{}, 0, &HelperError{Helper: p.Name, Server: repository.String(), Config: k.options.Config, Reason: reason}
			}
			return credential, min(keep, kubeletKeep), nil
		})
}

// run runs a plugin once. reason is empty when it answered.
func (k *KubeletProviders) run(ctx context.Context, p kubeletProvider, repository Repository) (_ Credential, keep time.Duration, reason string) {
	path := filepath.Join(k.options.Dir, p.Name)
	switch {
	case !helperName.MatchString(p.Name):
		return Credential{}, 0, "not a plugin's name"
	case p.TokenAttributes != nil:
		return Credential{}, 0, "it wants a service account's token, which only the kubelet has"
	case !filepath.IsAbs(path):
		return Credential{}, 0, "its directory is not an absolute path"
	}
	if reason = distrustProgram(path); reason != "" {
		return Credential{}, 0, reason
	}
	request, err := json.Marshal(kubeletRequest{APIVersion: p.APIVersion, Image: repository.String(), Kind: kubeletRequestKind})
	if err != nil {
		return Credential{}, 0, "its request cannot be written as JSON"
	}
	plugin := executable{path, p.Args, nil, bytes.NewReader(request), "echo '" + string(request) + "' | " + path}
	for _, v := range p.Env {
		plugin.env = append(plugin.env, v.Name+"="+v.Value)
	}
	k.options.Metrics.HelperRuns.Add(1)
	defer func(start time.Time) { k.options.Metrics.HelperNanoseconds.Add(int64(time.Since(start))) }(time.Now())
	output, reason := plugin.execute(ctx, kubeletTimeout, false)
	if reason != "" {
		return Credential{}, 0, reason
	}
	return p.read(output, repository)
}

// read reads a plugin's answer.
func (p kubeletProvider) read(output []byte, repository Repository) (_ Credential, keep time.Duration, reason string) {
	var answer kubeletResponse
	if err := json.Unmarshal(output, &answer); err != nil || answer.Kind != kubeletResponseKind {
		return Credential{}, 0, "its answer is not a " + kubeletResponseKind
	}
	text := p.DefaultCacheDuration
	if answer.CacheDuration != nil {
		text = *answer.CacheDuration
	}
	if text != "" {
		var err error
		if keep, err = time.ParseDuration(text); err != nil || keep < 0 {
			return Credential{}, 0, "the cacheDuration of its answer is not a duration"
		}
	}
	found := ""
	for key := range answer.Auth {
		host, path, _ := SplitKey(key)
		if matchesImage(host+"/"+path, repository) && (found == "" || moreSpecific(key, found)) {
			found = key
		}
	}
	c := answer.Auth[found]
	if found == "" || c.Username == "" && c.Password == "" {
		return Credential{}, keep, ""
	}
	if c.Username == "" || c.Password == "" {
		return Credential{}, 0, "its answer lacks user name or password"
	}
	return UserCredential(c.Username, c.Password, fmt.Sprintf("kubelet's credential provider %s, key %q", p.Name, found)), keep, ""
}
