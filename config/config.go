// Package config is the configuration of nested's daemons: the file, its rules,
// and the objects that are made from it.
//
// Read the files in this order:
//
//   - config.go: [Config] is the file's form, with its defaults (comments.go is
//     generated from it);
//   - parse.go with value.go and unknown.go: [Load] and [Parse] read it
//     strictly, and report everything that is wrong at once, each with its
//     position (problem.go); flags.go: values that win over the file's;
//   - check.go with checkserve.go: the rules for values; files.go with state.go
//     and sealkey.go: who may change the files that it names;
//   - render.go: the file as text; gateway.go, and serve.go with front.go: the
//     gateway and the front that it describes, and process.go: how they run;
//     plugin.go: the section in containerd's own file;
//   - hosts.go, and the other files beginning with hosts: reading hosts.toml,
//     checking who may change it, and putting the gateway into it; buildkit.go
//     does so for a buildkitd.toml;
//   - certificates.go: the certificates of containerd and the gateway.
//
// Package gateway is below it; its users are internal/daemon, internal/node,
// internal/doctor and plugin.
package config

import (
	"runtime"
	"time"

	"github.com/nestedoci/nested/remotes/transport/find"
)

// Path is where the daemons look for the file.
const Path = "/etc/nested/config.toml"

// Config is the file. The comment of each key is also in docs/config.md and in
// the output of [Config.Render]; `go test ./config -update` copies it there.
type Config struct {
	// The version of the file's format; 1.
	Version int `toml:"version"`

	Log         Log         `toml:"log"`
	Credentials Credentials `toml:"credentials"`
	Nested      Nested      `toml:"nested"`
	Gateway     Gateway     `toml:"gateway"`
	Serve       Serve       `toml:"serve"`
}

// Log is the section [log].
type Log struct {
	// The log level: "error", "warn", "info" or "debug".
	Level string `toml:"level"`
	// The log format: "text" or "json".
	Format string `toml:"format"`
}

// Credentials is the section [credentials].
type Credentials struct {
	// Docker configuration files, or directories with a config.json, searched in this order. One that does not exist is
	// skipped. Only with mode = "node".
	DockerConfig []string `toml:"docker_config"`
	// The kubelet's credential provider plugins, used after those files: the kubelet's --image-credential-provider-config,
	// one file. Empty: none. Only with mode = "node".
	KubeletProviders string `toml:"kubelet_credential_providers"`
	// The directory of the plugins: the kubelet's --image-credential-provider-bin-dir.
	KubeletProviderDir string `toml:"kubelet_credential_provider_dir"`
	// How long a credential helper may take.
	HelperTimeout time.Duration `toml:"helper_timeout"`
	// The only hosts, besides a registry itself, that may be its token endpoint: host or host:port. Empty: any host whose
	// address is not less public than the registry's.
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
	// Whose credentials are used. "node": those of the Docker configuration files, for every client of the gateway. "pod":
	// those that the client sends; the gateway asks for them with Basic where a repository is not public.
	Mode string `toml:"mode"`
	// The registries to serve, as references name them: host or host:port.
	Registries []string `toml:"registries"`
	// The repositories to serve, with all below them: registry/path, where * stands for one component and ** for one or
	// more. Empty: all repositories of the registries.
	Allow []string `toml:"allow"`
	// Where to listen: a loopback address with a port. Ignored for a socket that systemd passes.
	Address string `toml:"address"`
	// The gateway's certificate and key in one PEM file.
	Certificate string `toml:"certificate"`
	// The certificate of the CA that signed those of the gateway's clients.
	ClientCA string `toml:"client_ca"`
	// A directory with a hosts.toml per registry, in containerd's format: upstream mirrors, CAs, client certificates,
	// headers. Not containerd's own directory, whose files name the gateway.
	HostsDir string `toml:"hosts_dir"`
	// How long a registry may take to begin an answer, all attempts together; less than containerd's 30s.
	UpstreamTimeout time.Duration `toml:"upstream_timeout"`
	// How many manifests and small blobs may be read ahead, for all clients together, before the client of a nested index
	// requests them; each has 256 KiB at most, also behind a redirect. They are fetched, 32 at a time, once the client has
	// requested a second entry of an index that was not known yet, and kept until 10 minutes after its last request, in
	// mode pod for a minute. 0: none.
	Prefetch int `toml:"prefetch"`
	// The memory, in bytes, for the content of all clients together: indexes, manifests and lists while they are read,
	// followed and sent, content that was read ahead, and what searches remember. A request waits for its share, and gets
	// 503 when none becomes free within upstream_timeout. At least 48 MiB. Give the process 128 MiB more than this: Go's
	// limit (GOMEMLIMIT, unless the environment sets it) is this plus 64 MiB.
	MaxMemory int `toml:"max_memory"`
	// The directory of the location cache: where the content of bundles was found.
	StateDir string `toml:"state_dir"`
	// The loopback address for metrics and health checks, over plain http; empty: off.
	MetricsAddress string `toml:"metrics_address"`
	// How long transfers may continue after SIGTERM.
	Grace time.Duration `toml:"grace"`
}

// Serve is the section [serve] (docs/serve.md). A file has a section when it
// sets one of its keys; without any it is the gateway's.
type Serve struct {
	// Where to listen: host:port, or :port for all addresses. Ignored for a socket that systemd passes.
	Listen string `toml:"listen"`
	// The certificate that clients see, the intermediate ones after it, and the key, in one PEM file. It is read again
	// when it changes.
	Certificate string `toml:"certificate"`
	// What is served: NAME=REGISTRY, each host or host:port. Clients ask for the name; the registry is behind it.
	Registries []string `toml:"registries"`
	// The repositories to serve, with all below them: registry/path of the registries behind, where * stands for one
	// component and ** for one or more. Empty: all repositories of the registries.
	Allow []string `toml:"allow"`
	// The files of the keys that seal the addresses of uploads, each 32 bytes in base64 (openssl rand -base64 32). The
	// first seals, all open; replicas need the same ones. Empty: the process draws one when it starts.
	SealKeys []string `toml:"seal_keys"`
	// A directory with a hosts.toml per registry behind, in containerd's format: upstream mirrors, CAs, client
	// certificates, headers. Not containerd's own directory, whose files may name a gateway. Empty: none.
	HostsDir string `toml:"hosts_dir"`
	// What a registry's redirects of blobs become. "hand-on": the client gets them, and fetches the blob from the
	// registry's store. "follow": the blob comes through here, for clients that cannot reach the store.
	Redirects string `toml:"redirects"`
	// The load balancers and proxies in front, as addresses or CIDR ranges, whose X-Forwarded-For is believed.
	Proxies []string `toml:"proxies"`
	// How many requests of one caller, a user at an address, are answered at once. More wait for 5 s, and then get 429.
	MaxRequests int `toml:"max_requests"`
	// How many connections are open at once, and half as many from one address that is not in proxies. Of more, that which
	// has waited longest without a request is closed, or else the new one. At least 8, at most 65536.
	MaxConnections int `toml:"max_connections"`
	// The memory, in bytes, for the content of all clients together, as gateway.max_memory; at least 48 MiB. Give the
	// process 128 MiB more than this, and 32 KiB for each of max_connections: Go's limit (GOMEMLIMIT, unless the environment
	// sets it) is 64 MiB less than that.
	MaxMemory int `toml:"max_memory"`
	// How long a registry may take to begin an answer, all attempts together; 10m at most.
	UpstreamTimeout time.Duration `toml:"upstream_timeout"`
	// The address for metrics and health checks, over plain http: host:port or :port; empty: off.
	MetricsAddress string `toml:"metrics_address"`
	// How long transfers may continue after SIGTERM.
	Grace time.Duration `toml:"grace"`
}

// Default is the meaning of an empty file. Mode and registries have no default,
// nor have a front's certificate and registries; a file with their sections has
// to set them.
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
			MaxMemory:       find.DefaultMemory,
			StateDir:        "/var/lib/nested",
			Grace:           5 * time.Second,
		},
		Serve: Serve{
			Listen:          ":443",
			Registries:      []string{},
			Allow:           []string{},
			SealKeys:        []string{},
			HostsDir:        SystemDir(runtime.GOOS, "/etc/nested/certs.d"),
			Redirects:       "hand-on",
			Proxies:         []string{},
			MaxRequests:     256,
			MaxConnections:  4096,
			MaxMemory:       find.DefaultMemory,
			UpstreamTimeout: 25 * time.Second,
			Grace:           30 * time.Second,
		},
	}
}
