// Package doctor finds out why containerd does not pull nested bundles through
// the gateway of a node. It changes nothing: it reads the files of the gateway,
// of containerd and of the installation, and asks the gateway as containerd
// would. What package node installs it judges by that package's record; there is
// no other tie between the two, so that this is a room of its own.
//
// A reader meets: [Look] and its checks in the order of looking (doctor.go);
// then each of them: hosts.toml and certificates (hosts.go), proxies and
// credentials (environment.go), the gateway's answers (gateway.go), and
// containerd's configuration (containerd.go).
package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// Options say what is looked at.
type Options struct {
	// Root is the directory of an image, on which nothing runs that could be
	// asked; empty for this node.
	Root             string
	Config           string // the gateway's configuration, as the node names it
	ContainerdConfig string // containerd's
	// References are pulled through the gateway; none in an image.
	References []auth.Reference
	Now        time.Time // by which certificates are judged; zero for the time of looking
}

// Problem is one thing that is wrong, and what puts it right. Both may have
// text of strangers in them, and URLs with secrets: who shows them redacts and
// escapes them.
type Problem struct{ What, Fix string }

// follows reports whether another problem says what this one is about.
func (p Problem) follows(other Problem) bool { return strings.Contains(p.What, other.What) }

// String is the problem in a line.
func (p Problem) String() string { return "problem: " + p.What + "; fix: " + p.Fix }

// Look reports each problem as soon as it is found, and whether there was any.
// The error is about the options, or that of the context.
func Look(ctx context.Context, o Options, report func(Problem)) (found bool, err error) {
	if o.Root != "" {
		if _, err = os.Stat(o.Root); err != nil {
			return false, err
		}
		if len(o.References) > 0 {
			return false, usage.Errorf("a REF is pulled by a node, not in --root")
		}
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	return load(o).look(ctx, o.Root == "", report)
}

// look is Look, where the gateway runs, or where only files are.
func (d *doctor) look(ctx context.Context, runs bool, report func(Problem)) (found bool, err error) {
	var all []Problem
	for _, c := range d.checks(runs) {
		for _, p := range c.look(ctx) {
			if !slices.ContainsFunc(all, p.follows) {
				all = append(all, p)
				report(p)
			}
		}
		if err = ctx.Err(); err != nil {
			break
		}
	}
	return all != nil, err
}

// doctor is what the checks go by. What could not be read they find.
type doctor struct {
	Options
	config       *config.Config // nil when it cannot be read
	configErr    error          // why not
	record       *node.Record   // of the installation; empty when it cannot be read
	recordErr    error          // why not
	certs        []string       // where hosts.toml is installed
	installation node.Options   // with which to install as before
}

// load reads what the checks go by.
func load(o Options) *doctor {
	d := &doctor{Options: o}
	if d.record, d.recordErr = node.ReadRecord(o.Root); d.recordErr != nil {
		d.record = new(node.Record)
	}
	d.installation = d.record.Options
	if d.certs = d.installation.ContainerdCerts; len(d.certs) == 0 {
		d.certs = []string{config.ContainerdCerts}
	}
	text, err := os.ReadFile(d.at(o.Config))
	if err == nil {
		d.config, err = config.Parse(o.Config, text)
	}
	if d.configErr = err; err == nil {
		g, i := d.config.Gateway, &d.installation
		i.Mode, i.Registries, i.Allow, i.Address = g.Mode, g.Registries, g.Allow, g.Address
		i.ContainerdCerts, i.DockerConfig = d.certs, d.config.Credentials.DockerConfig
	}
	return d
}

// at is where a path of the node is.
func (d *doctor) at(path string) string { return filepath.Join(d.Root, path) }

// check is one thing that the doctor looks at.
type check struct {
	name string
	look func(context.Context) []Problem
}

// checks is all of it, in the order of looking: the first ones explain what
// the later ones find.
func (d *doctor) checks(runs bool) []check {
	all := []check{
		{"the record of the installation", d.checkRecord},
		{"the gateway's configuration", d.checkConfig},
	}
	if d.config != nil {
		all = append(all,
			check{"who may read and write the files that it names", d.checkFiles},
			check{"hosts.toml of each registry", d.checkHosts},
			check{"the gateway's own hosts.toml of each registry", d.checkUpstream},
			check{"certificates of containerd and the gateway", d.checkCertificates},
			check{"proxies", d.checkProxy})
	}
	if d.config != nil && runs {
		all = append(all,
			check{"credentials of each registry", d.checkCredentials},
			check{"whether the gateway answers, for itself, each registry and each REF", d.checkAnswers})
	}
	return append(all,
		check{"where containerd looks for hosts.toml", d.checkRoots},
		check{"whether CRI pulls all members", d.checkPull})
}

// start, see and reload are what to do with the gateway's process.
func (d *doctor) start() string {
	if d.installation.NoSystemd {
		return "start nestctl gateway --config " + d.Config + ", and read what it logs"
	}
	return "systemctl restart nested-gateway.socket nested-gateway; journalctl -u nested-gateway says more"
}

func (d *doctor) see() string {
	if d.installation.NoSystemd {
		return "the gateway's log says more"
	}
	return "journalctl -u nested-gateway says more"
}

func (d *doctor) reload() string {
	if d.installation.NoSystemd {
		return "send the gateway SIGHUP"
	}
	return "systemctl reload nested-gateway"
}

// checkRecord looks whether it is known what was installed.
func (d *doctor) checkRecord(context.Context) []Problem {
	return because(d.recordErr, "run nestctl doctor as root")
}

const installFix = "nestctl install --mode MODE --registry HOST"

func (d *doctor) checkConfig(context.Context) []Problem {
	var path *fs.PathError
	switch {
	case errors.Is(d.configErr, fs.ErrNotExist):
		return []Problem{{d.Config + " does not exist", installFix}}
	case errors.As(d.configErr, &path):
		return []Problem{{path.Error(), "run nestctl doctor as root"}}
	}
	return append(because(d.configErr, ""), because(config.CheckFile(d.at(d.Config)), "")...)
}

// checkFiles looks at who may read and write files.
func (d *doctor) checkFiles(context.Context) []Problem {
	g := d.config.Gateway
	found := slices.Concat(
		because(config.CheckSecret(d.at(g.Certificate)), "nestctl install as before"),
		because(config.CheckFile(d.at(g.ClientCA)), "nestctl install as before"),
		because(absent(config.CheckDir(d.at(g.StateDir))), ""))
	for _, registry := range g.Registries {
		found = append(found, because(config.CheckHosts(d.Root, g.HostsDir, registry), "")...)
	}
	if g.Mode != "node" {
		return found
	}
	for _, path := range d.config.Credentials.DockerConfig {
		err := config.CheckSecret(config.DockerFile(d.at(path)))
		found = append(found, because(absent(err), "make it a file that root can read")...)
	}
	return found
}

// absent is an error, unless that says that something is not there.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// because makes problems of an error, which often says itself what to do: a
// configuration's says it for each of its problems, others at their end.
func because(err error, fix string) []Problem {
	if err == nil {
		return nil
	}
	var bad *config.Error
	if errors.As(err, &bad) {
		var all []Problem
		for _, p := range bad.Problems {
			all = append(all, Problem{strings.TrimSuffix(p.String(), "; "+p.Right), p.Right})
		}
		if bad.More > 0 {
			all = append(all, Problem{bad.Rest(), "put those right, and look again"})
		}
		return all
	}
	what := err.Error()
	if i := strings.LastIndex(what, "; "); i > 0 {
		what, fix = what[:i], what[i+2:]
	}
	return []Problem{{what, fix}}
}
