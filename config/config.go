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
	// The version of the format of this file: 1.
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
	// Docker configuration files, or directories with a config.json. They are searched in this order; a file that does
	// not exist is skipped. Used only with mode = "node".
	DockerConfig []string `toml:"docker_config"`
	// The configuration of the kubelet's credential provider plugins: the file that the kubelet gets as
	// --image-credential-provider-config. The plugins are asked after the files of docker_config. Empty: no plugins.
	// Used only with mode = "node".
	KubeletProviders string `toml:"kubelet_credential_providers"`
	// The directory of these plugins: what the kubelet gets as --image-credential-provider-bin-dir.
	KubeletProviderDir string `toml:"kubelet_credential_provider_dir"`
	// The longest time that a credential helper may take.
	HelperTimeout time.Duration `toml:"helper_timeout"`
	// The hosts that may be the token endpoint of a registry, besides the registry itself: host or host:port. Empty: any
	// host whose address is at least as public as the registry's.
	Realms []string `toml:"realms"`
}

// Nested is the section [nested]: how child-namespace descriptors are
// recognised (docs/spec.md, section 2).
type Nested struct {
	// The annotations of a descriptor that state a child namespace.
	Annotations []string `toml:"annotations"`
	// The properties of a descriptor that state a child namespace.
	Properties []string `toml:"properties"`
}

// Gateway is the section [gateway].
type Gateway struct {
	// Whose credentials are sent to registries. "node": those of docker_config and the kubelet's plugins, for every
	// client of the gateway. "pod": those that the client sends; where a repository is not public, the gateway asks the
	// client for them (Basic authentication).
	Mode string `toml:"mode"`
	// The registries to serve, as they are written in references: host or host:port.
	Registries []string `toml:"registries"`
	// The repositories to serve, and all below them: registry/path, in which * matches one path component, and ** one or
	// more. Empty: all repositories of the registries.
	Allow []string `toml:"allow"`
	// The loopback address and port to listen on. Ignored when systemd passes a socket.
	Address string `toml:"address"`
	// The PEM file with the certificate and the key of the gateway.
	Certificate string `toml:"certificate"`
	// The PEM file with the certificate of the CA that issued the clients' certificates.
	ClientCA string `toml:"client_ca"`
	// The directory with a hosts.toml for each registry, in containerd's format: upstream mirrors, CAs, client
	// certificates and headers. It must not be containerd's own directory, whose files lead to the gateway.
	HostsDir string `toml:"hosts_dir"`
	// The longest time until a registry begins its answer, including all retries. It must be less than containerd's 30s.
	UpstreamTimeout time.Duration `toml:"upstream_timeout"`
	// The number of manifests and small blobs of nested indexes that the gateway fetches before a client requests them,
	// for all clients together. Each has at most 256 KiB, also behind a redirect. The gateway begins when a client
	// requests a second entry of an index that it did not know yet, and fetches 32 at a time. They are kept until 10
	// minutes after the client's last request; in mode pod, 1 minute. 0: none.
	Prefetch int `toml:"prefetch"`
	// The memory for content, in bytes, for all clients together: for indexes, manifests and lists that are read,
	// followed or sent, for what was fetched in advance, and for what searches remember. A request that gets no memory
	// within upstream_timeout is answered with 503. At least 48 MiB. The process needs 128 MiB more than this. Go's
	// limit (GOMEMLIMIT) is set to 64 MiB more than this, unless the environment sets it.
	MaxMemory int `toml:"max_memory"`
	// The directory of the location cache, which records where the content of bundles was found.
	StateDir string `toml:"state_dir"`
	// The loopback address and port for metrics and health checks, over plain HTTP. Empty: none.
	MetricsAddress string `toml:"metrics_address"`
	// The time that transfers get to finish after SIGTERM.
	Grace time.Duration `toml:"grace"`
}

// Serve is the section [serve] (docs/serve.md). A file has a section when it
// sets one of its keys; without any it is the gateway's.
type Serve struct {
	// The address to listen on: host:port, or :port for all addresses. Ignored when systemd passes a socket.
	Listen string `toml:"listen"`
	// The PEM file with the certificate that clients see, the intermediate certificates after it, and the key. It is
	// read again when it changes.
	Certificate string `toml:"certificate"`
	// The registries to serve, as NAME=REGISTRY, each host or host:port. Clients use NAME, and their requests go to
	// REGISTRY.
	Registries []string `toml:"registries"`
	// The repositories to serve, and all below them: REGISTRY/path, in which * matches one path component, and ** one or
	// more. Empty: all repositories of the registries.
	Allow []string `toml:"allow"`
	// The files of the keys that encrypt the addresses of uploads. Each has 32 bytes in base64 (openssl rand -base64
	// 32). The first key encrypts, and all of them decrypt; replicas need the same keys. Empty: a random key, made at
	// the start.
	SealKeys []string `toml:"seal_keys"`
	// The directory with a hosts.toml for each REGISTRY, in containerd's format: upstream mirrors, CAs, client
	// certificates and headers. It must not be containerd's own directory, whose files may lead to a gateway. Empty:
	// none.
	HostsDir string `toml:"hosts_dir"`
	// What happens when a registry redirects the download of a blob. "hand-on": the client gets the redirect, and
	// downloads from the registry's storage. "follow": serve downloads the blob and passes it on, for clients that
	// cannot reach the storage.
	Redirects string `toml:"redirects"`
	// The load balancers and proxies in front of serve, as addresses or CIDR ranges. Only their X-Forwarded-For is
	// believed.
	Proxies []string `toml:"proxies"`
	// The number of requests of one caller (a user at an address) that are answered at once. Others wait for up to 5 s,
	// and are then answered with 429.
	MaxRequests int `toml:"max_requests"`
	// The number of connections that may be open at once. One address that is not in proxies may have half as many. When
	// there are more, the one that has waited longest without a request is closed, or the new one if there is none. At
	// least 8, at most 65536.
	MaxConnections int `toml:"max_connections"`
	// The memory for content, in bytes, for all clients together, as gateway.max_memory. At least 48 MiB. The process
	// needs 128 MiB more than this, and 32 KiB for each of max_connections. Go's limit (GOMEMLIMIT) is set to 64 MiB
	// less than all of that, unless the environment sets it.
	MaxMemory int `toml:"max_memory"`
	// The longest time until a registry begins its answer, including all retries. At most 10m.
	UpstreamTimeout time.Duration `toml:"upstream_timeout"`
	// The address for metrics and health checks, over plain HTTP: host:port or :port. Empty: none.
	MetricsAddress string `toml:"metrics_address"`
	// The time that transfers get to finish after SIGTERM.
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
