// Package config is the configuration file of nested's daemons, and the one
// place where what it says becomes objects.
//
// A reader meets: [Config], the file's shape with its defaults; [Load] and
// [Parse], which read it strictly and report everything that is wrong with it
// at once, each with its position; [Config.Check], the rules for values;
// [CheckFile], whose files are trusted; [Config.Render], the file as text.
package config

import (
	"time"

	"github.com/nestedoci/nested/remotes/gateway"
)

// Path is where the daemons look.
const Path = "/etc/nested/config.toml"

// Config is the file. Each key's comment stands in docs/config.md and in what
// [Config.Render] writes; `go test ./config -update` brings it there.
type Config struct {
	// The version of the file's format; 1.
	Version int `toml:"version"`

	Log         Log         `toml:"log"`
	Credentials Credentials `toml:"credentials"`
	Nested      Nested      `toml:"nested"`
	Gateway     Gateway     `toml:"gateway"`
}

// Log is the section [log].
type Log struct {
	// What is logged: "error", "warn", "info" or "debug".
	Level string `toml:"level"`
	// How: "text" or "json".
	Format string `toml:"format"`
}

// Credentials is the section [credentials].
type Credentials struct {
	// Docker configuration files, or directories with a config.json, asked in this order; one that does not exist is
	// passed over. Only with mode = "node".
	DockerConfig []string `toml:"docker_config"`
	// The kubelet's credential provider plugins, asked after those files: the kubelet's --image-credential-provider-config,
	// one file. Empty: none. Only with mode = "node".
	KubeletProviders string `toml:"kubelet_credential_providers"`
	// The folder of the plugins: the kubelet's --image-credential-provider-bin-dir.
	KubeletProviderDir string `toml:"kubelet_credential_provider_dir"`
	// How long a credential helper may take.
	HelperTimeout time.Duration `toml:"helper_timeout"`
	// The only hosts, besides a registry itself, that may be its token endpoint: host or host:port. Empty: any host that
	// is not less public than the registry.
	Realms []string `toml:"realms"`
}

// Nested is the section [nested]: how child-namespace descriptors are
// recognised (docs/spec.md, section 2).
type Nested struct {
	// Annotations that state a child namespace.
	Annotations []string `toml:"annotations"`
	// Properties of a descriptor that state a child namespace.
	Properties []string `toml:"properties"`
}

// Gateway is the section [gateway].
type Gateway struct {
	// Whose credentials are used. "node": those of the Docker configuration files, for all who may reach the gateway.
	// "pod": those that the caller shows, asked for with Basic where a repository is not public.
	Mode string `toml:"mode"`
	// The registries that are served, as references name them: host or host:port.
	Registries []string `toml:"registries"`
	// The repositories that are served, with all below them: registry/path, where * stands for one component and ** for
	// one or more. Empty: all of the registries.
	Allow []string `toml:"allow"`
	// Where to listen: a loopback address with a port. Ignored for a socket that systemd passes.
	Address string `toml:"address"`
	// The gateway's certificate and key in one PEM file.
	Certificate string `toml:"certificate"`
	// The certificate that signed those of the gateway's callers.
	ClientCA string `toml:"client_ca"`
	// A directory with a hosts.toml per registry, in containerd's format: upstream mirrors, CAs, client certificates,
	// headers. Not containerd's own, in which the gateway stands.
	HostsDir string `toml:"hosts_dir"`
	// How long a registry may take to begin an answer, all attempts together; less than containerd's 30s.
	UpstreamTimeout time.Duration `toml:"upstream_timeout"`
	// How many manifests and small blobs may be fetched, for all clients together, before the client of a nested index
	// asks for them; each has 256 KiB at most, also behind a redirect. They are fetched once it has asked for a second
	// entry of an index that was not known yet, 32 at a time, and wait until 10 minutes after its last request; in mode
	// pod for a minute. 0: none.
	Prefetch int `toml:"prefetch"`
	// The most bytes that are held for all clients together: indexes, manifests and lists while they are read, followed and
	// sent, what waits for its client, what searches remember. Requests wait for their part, and get 503 when it does not
	// come within upstream_timeout. At least 48 MiB. Give the process 128 MiB more than this: Go's limit (GOMEMLIMIT, unless
	// the environment sets it) is this and 64 MiB.
	MaxMemory int `toml:"max_memory"`
	// The directory of the location cache: what was learnt about bundles.
	StateDir string `toml:"state_dir"`
	// The loopback address of metrics and health, over plain http; empty: off.
	MetricsAddress string `toml:"metrics_address"`
	// How long transfers may go on after SIGTERM.
	Grace time.Duration `toml:"grace"`
}

// Default is what a file that says nothing means. Mode and registries have no
// default; a file has to state them.
func Default() Config {
	return Config{
		Version: 1,
		Log:     Log{Level: "info", Format: "text"},
		Credentials: Credentials{
			DockerConfig:  []string{"/root/.docker/config.json", "/var/lib/kubelet/config.json"},
			HelperTimeout: 30 * time.Second,
			Realms:        []string{},
		},
		Nested: Nested{
			Annotations: []string{"io.github.nestedoci.child-namespace"},
			Properties:  []string{"namespace"},
		},
		Gateway: Gateway{
			Registries:      []string{},
			Allow:           []string{},
			Address:         "127.0.0.1:7117",
			Certificate:     "/etc/nested/tls/gateway.pem",
			ClientCA:        "/etc/nested/tls/ca.pem",
			HostsDir:        "/etc/nested/certs.d",
			UpstreamTimeout: 25 * time.Second,
			Prefetch:        64,
			MaxMemory:       gateway.DefaultMemory,
			StateDir:        "/var/lib/nested",
			Grace:           5 * time.Second,
		},
	}
}
