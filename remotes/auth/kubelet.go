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
	// kubeletKeep bounds how long an answer is believed; clouds' tokens live
	// for hours.
	kubeletKeep = 12 * time.Hour
)

// KubeletOptions say where the kubelet's credential provider plugins are.
type KubeletOptions struct {
	Config  string // the kubelet's --image-credential-provider-config, one file
	Dir     string // and its --image-credential-provider-bin-dir
	Metrics *Metrics
}

// KubeletProviders is a [Source] over the kubelet's credential provider plugins
// (kubelet.config.k8s.io/v1, CredentialProviderConfig), for nodes of clouds that
// have those and no Docker credential helpers. The plugins whose matchImages fit
// are asked for a repository in the file's order, one request at a time for a
// plugin and repository; answers are kept as they say, for that repository
// alone. A plugin that fails is an error; one that answers without a credential
// for the repository passes the question on.
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
	none := Credential{Source: "none: no plugin of " + k.options.Config + " has one"}
	providers, err := k.read()
	if err != nil {
		return Credential{}, &LookupError{Repository: repository, Err: err}
	}
	for _, p := range providers {
		if !p.matches(repository) {
			continue
		}
		credential, err := k.ask(ctx, p, repository)
		if err != nil {
			return Credential{}, &LookupError{Repository: repository, Err: err}
		}
		if !credential.Anonymous() {
			return credential, nil
		}
	}
	return none, nil
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
		return nil, fmt.Errorf("%s is no CredentialProviderConfig of the kubelet", k.options.Config)
	}
	return config.Providers, nil
}

func (p kubeletProvider) matches(repository Repository) bool {
	for _, pattern := range p.MatchImages {
		if matchesImage(pattern, repository) {
			return true
		}
	}
	return false
}

// matchesImage reports whether a pattern of the kubelet fits: * in a part of the
// host's name stands for that part or some of it, the port has to be the same,
// and the path is a prefix, here at a slash.
func matchesImage(pattern string, repository Repository) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	host, prefix, _ := strings.Cut(pattern, "/")
	name, port := splitPort(host)
	wantName, wantPort := splitPort(canonicalHost(repository.host))
	parts, wanted := strings.Split(name, "."), strings.Split(wantName, ".")
	if port != wantPort || len(parts) != len(wanted) {
		return false
	}
	for i, part := range parts {
		if ok, err := path.Match(part, wanted[i]); err != nil || !ok {
			return false
		}
	}
	return prefix == "" || repository.name == prefix || strings.HasPrefix(repository.name, prefix+"/")
}

// moreSpecific reports whether one of two keys that fit is to be preferred: that
// with the longer path, and of two hosts the one that says more, as * sorts
// before what it stands for.
func moreSpecific(key, other string) bool {
	host, path, _ := splitKey(key)
	otherHost, otherPath, _ := splitKey(other)
	return cmp.Or(cmp.Compare(len(path), len(otherPath)), cmp.Compare(host, otherHost), cmp.Compare(other, key)) > 0
}

func splitPort(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return name, port
	}
	return host, ""
}

// ask asks a plugin, unless its answer is kept.
func (k *KubeletProviders) ask(ctx context.Context, p kubeletProvider, repository Repository) (Credential, error) {
	return k.answers.Get(ctx, kubeletKey{p.Name, repository}, kubeletTimeout+time.Second,
		func(ctx context.Context) (Credential, time.Duration, error) {
			credential, keep, reason := k.run(ctx, p, repository)
			if reason != "" {
				return Credential{}, 0, &HelperError{Helper: p.Name, Server: repository.String(), Config: k.options.Config, Reason: reason}
			}
			return credential, min(keep, kubeletKeep), nil
		})
}

// run asks a plugin once. reason is empty when it answered.
func (k *KubeletProviders) run(ctx context.Context, p kubeletProvider, repository Repository) (_ Credential, keep time.Duration, reason string) {
	path := filepath.Join(k.options.Dir, p.Name)
	switch {
	case !helperName.MatchString(p.Name):
		return Credential{}, 0, "not a plugin's name"
	case p.TokenAttributes != nil:
		return Credential{}, 0, "it wants a service account's token, which only the kubelet has"
	case !filepath.IsAbs(path):
		return Credential{}, 0, "its folder is not an absolute path"
	}
	if reason = distrustProgram(path); reason != "" {
		return Credential{}, 0, reason
	}
	request, err := json.Marshal(kubeletRequest{APIVersion: p.APIVersion, Image: repository.String(), Kind: kubeletRequestKind})
	if err != nil {
		return Credential{}, 0, "it cannot be asked"
	}
	asked := executable{path, p.Args, nil, bytes.NewReader(request), "echo '" + string(request) + "' | " + path}
	for _, v := range p.Env {
		asked.env = append(asked.env, v.Name+"="+v.Value)
	}
	k.options.Metrics.HelperRuns.Add(1)
	defer func(start time.Time) { k.options.Metrics.HelperNanoseconds.Add(int64(time.Since(start))) }(time.Now())
	output, reason := asked.execute(ctx, kubeletTimeout, false)
	if reason != "" {
		return Credential{}, 0, reason
	}
	return p.read(output, repository)
}

// read reads a plugin's answer.
func (p kubeletProvider) read(output []byte, repository Repository) (_ Credential, keep time.Duration, reason string) {
	var answer kubeletResponse
	if err := json.Unmarshal(output, &answer); err != nil || answer.Kind != kubeletResponseKind {
		return Credential{}, 0, "its answer is no " + kubeletResponseKind
	}
	text := p.DefaultCacheDuration
	if answer.CacheDuration != nil {
		text = *answer.CacheDuration
	}
	if text != "" {
		var err error
		if keep, err = time.ParseDuration(text); err != nil || keep < 0 {
			return Credential{}, 0, "how long its answer may be kept is no duration"
		}
	}
	found := ""
	for key := range answer.Auth {
		host, path, _ := splitKey(key)
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
