package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/internal/trust"
)

// CheckFile refuses a configuration file that users other than root and the
// user of this process could change: by writing it, by replacing it in one of
// the directories on the way to it, symbolic links included, or by creating it
// where it is missing. The error is then an [*Error] with the command that
// fixes it.
func CheckFile(path string) error { return asProblem(trust.File(path)) }

// CheckSecret is [CheckFile] for files that others may not read, either.
func CheckSecret(path string) error { return asProblem(trust.Secret(path)) }

// CheckDir is [CheckFile] for a directory in which files are looked up or kept.
func CheckDir(path string) error { return asProblem(trust.Dir(path)) }

// asProblem turns a [trust.Error] into an [*Error].
func asProblem(err error) error {
	var bad *trust.Error
	if errors.As(err, &bad) {
		return &Error{Problems: []Problem{{File: bad.Path, Wrong: bad.Wrong, Fix: bad.Fix}}}
	}
	return err
}

// CheckDocker is [CheckFile] for a Docker configuration file, or a directory
// with a config.json.
func CheckDocker(path string) error { return CheckFile(DockerFile(path)) }

// DockerFile is the file for an entry of docker_config: the entry itself, or
// the config.json in it.
func DockerFile(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, "config.json")
	}
	return path
}

// checkFiles checks the files that the configuration names: those of the section
// that it is read for, or of all sections. The other one's may be for another
// user, or another machine.
func (d *decoder) checkFiles() {
	of := d.purpose.section
	if d.uses("gateway") && of != "serve" {
		d.checkGatewayFiles()
	}
	if d.uses("serve") && of != "gateway" {
		d.checkServeFiles()
	}
}

func (d *decoder) checkGatewayFiles() {
	g := d.config.Gateway
	const installed = "nestctl install makes it"
	d.checkNamed("gateway.certificate", 0, g.Certificate, installed, CheckSecret)
	d.checkNamed("gateway.client_ca", 0, g.ClientCA, installed, CheckFile)
	if g.Mode == "node" {
		for i, path := range d.config.Credentials.DockerConfig {
			d.checkOptional("credentials.docker_config", i+1, path, CheckDocker)
		}
	}
	if path := d.config.Credentials.KubeletProviders; g.Mode == "node" && path != "" {
		d.checkNamed("credentials.kubelet_credential_providers", 0, path, "name the file that the kubelet has", CheckFile)
	}
	d.checkOptional("gateway.state_dir", 0, g.StateDir, d.purpose.state)
	d.checkHosts("gateway.hosts_dir", g.HostsDir, "gateway.registries", g.Registries)
}

func (d *decoder) checkServeFiles() {
	s := d.config.Serve
	d.checkNamed("serve.certificate", 0, s.Certificate, certificateFix, checkServed)
	for i, path := range s.SealKeys {
		d.checkNamed("serve.seal_keys", i+1, path, sealKeyFix, func(path string) error {
			_, err := ReadSealKey(path)
			return err
		})
	}
	d.checkHosts("serve.hosts_dir", s.HostsDir, "serve.registries", s.behind())
}

// leadsTo reports whether symbolic links make two directories overlap that do
// not by their names, and where the first one really is.
func leadsTo(dir, other string) (at string, overlaps bool) {
	at = really(dir)
	return at, overlap(at, really(other)) && !overlap(dir, other)
}

// really resolves a path as far as it exists.
func really(path string) string {
	at, err := filepath.EvalSymlinks(path)
	if dir := filepath.Dir(path); err != nil && dir != path {
		return filepath.Join(really(dir), filepath.Base(path))
	}
	return at
}

// checkHosts records what others decide about in the directory of hosts.toml
// files, each file once, and a directory that leads into containerd's.
func (d *decoder) checkHosts(key, dir, of string, registries []string) {
	if d.bad[key] || !filepath.IsAbs(dir) {
		return
	}
	if d.bad[of] {
		registries = nil
	}
	var seen []Problem
	for _, registry := range registries {
		var bad *Error
		if !isRegistry(registry) || !errors.As(CheckHosts("", dir, registry), &bad) {
			continue
		}
		for _, p := range bad.Problems {
			if !slices.Contains(seen, p) {
				seen = append(seen, p)
				d.untrusted(key, 0, p)
			}
		}
	}
	if ours, leads := leadsTo(dir, ContainerdCerts); leads {
		d.locate(Problem{Key: key, Wrong: key + " leads to " + trust.Shown(ours), Fix: "must be outside of containerd's " + ContainerdCerts})
	}
}

// checkOptional records when others decide about something that need not exist.
// Other problems with it are found when it is used.
func (d *decoder) checkOptional(key string, element int, path string, check func(string) error) {
	var bad *Error
	if !d.bad[key] && filepath.IsAbs(path) && errors.As(check(path), &bad) {
		d.untrusted(key, element, bad.Problems[0])
	}
}

// checkNamed records what is wrong with a file that must exist, unless the
// rules have refused its name. missing is what to do when it does not exist.
func (d *decoder) checkNamed(key string, element int, path, missing string, check func(string) error) {
	if d.bad[key] || !filepath.IsAbs(path) {
		return
	}
	var bad *Error
	switch err := check(path); {
	case err == nil:
	case errors.As(err, &bad):
		d.untrusted(key, element, bad.Problems[0])
	case errors.Is(err, fs.ErrNotExist):
		d.locate(Problem{Key: key, element: element, Wrong: key + ": " + trust.Shown(path) + " does not exist", Fix: missing})
	default:
		d.locate(Problem{Key: key, element: element, Wrong: key + ": " + err.Error(), Fix: "must be a file that can be read"})
	}
}

func (d *decoder) untrusted(key string, element int, p Problem) {
	d.locate(Problem{Key: key, element: element, Wrong: key + ": " + trust.Shown(p.File) + " " + p.Wrong, Fix: p.Fix})
}
