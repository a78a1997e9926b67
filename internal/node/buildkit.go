package node

import (
	"path/filepath"
	"regexp"
	"slices"

	"github.com/nestedoci/nested/config"
)

const (
	// BuildKitConfig is buildkitd's configuration. It has no drop-ins, and an
	// installation does not write it: an administrator adds the text that they
	// are given.
	BuildKitConfig = "/etc/buildkit/buildkitd.toml"
	// BuildKitCerts has the certificates with which buildkitd reaches the
	// gateway. buildkitd goes on without a directory that is gone.
	BuildKitCerts = tlsDir + "/buildkit"
)

// buildKitName is the form of the names of files in [BuildKitCerts].
var buildKitName = regexp.MustCompile(`^nested-[0-9a-f]{8}\.(crt|cert|key)$`)

// buildKitFile is a file in [BuildKitCerts], named after the ID of its set: a
// certificate never stands beside the key of another one.
func buildKitFile(id, suffix string) string {
	return filepath.Join(BuildKitCerts, "nested-"+id+suffix)
}

// buildKitFiles are buildkitd's certificates. The name of a certificate makes it
// look for the key, which is written before and removed after it. Those of
// earlier sets go: buildkitd would show the gateway any of them, also one that
// has expired.
func buildKitFiles(o Options, certificates config.Certificates) []file {
	if !slices.Contains(o.For, BuildKit) {
		return nil
	}
	id := certificates.ID()
	return []file{
		{path: buildKitFile(id, ".crt"), contents: newContents(certificates.CA, 0o644)},
		{path: buildKitFile(id, ".key"), contents: newContents(certificates.Client, 0o600)}, // certificate and key in both
		{path: buildKitFile(id, ".cert"), contents: newContents(certificates.Client, 0o600)},
	}
}

// addBuildKit adds what to add to buildkitd's configuration to a plan.
func (i installed) addBuildKit(p *plan) error {
	found, err := i.disk.read(BuildKitConfig)
	if err != nil {
		return err
	}
	var text []byte
	if found != nil {
		text = found.Data
	}
	gateway := config.GatewayHost{Address: p.options.Address}
	add, notes, err := gateway.BuildKit(BuildKitConfig, text, p.options.Registries, BuildKitCerts)
	p.add, p.notes = add, append(p.notes, notes...)
	return err
}
