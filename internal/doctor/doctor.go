// Package doctor finds out why the programs of a node do not pull nested bundles
// through its gateway. It changes nothing: it reads the files of the gateway,
// of these programs and of the installation, and sends the gateway the requests
// that they would send.
//
// Read the files in this order: doctor.go has [Look] and its checks in their
// order; then hosts.go (hosts.toml and certificates), environment.go (proxies
// and credentials), gateway.go (the gateway's answers), the configurations of
// programs in containerd.go, docker.go, rancher.go (k3s and RKE2),
// containers.go (podman and its like) and buildkit.go, and neighbours.go (other
// programs that use hosts.toml files). ways.go has how each program asks the
// gateway, and what stops it; pull.go pulls manifests so, and table.go shows what
// each program gets.
//
// Package node, the neighbour, installs what this package checks. The only tie
// between them is the record of the installation.
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

// Options say what to check.
type Options struct {
	// Root is the directory of an image, in which no service runs that could be
	// asked; empty for this node.
	Root             string
	Config           string // the gateway's configuration, as the node names it
	ContainerdConfig string // containerd's
	// References are pulled as each program pulls them; none in an image.
	References []auth.Reference
	// Credentials are the user's. In mode pod they stand for those of a pod, and
	// are shown to the gateway. It may be nil.
	Credentials auth.Source
	// Table gets what each program gets of each reference, at the end. It may be
	// nil.
	Table func(Table)
	Now   time.Time // the time for which certificates are checked; zero for the current time
	// Note gets what is no problem now: a neighbour that may make one, or a
	// program that does not use the gateway. It may be nil.
	Note func(Problem)
}

// Problem is one thing that is wrong, and how to fix it. Both may contain text
// of strangers, and URLs with secrets: callers that show them redact and escape
// them.
type Problem struct{ What, Fix string }

// follows reports whether another problem already says what this one says.
func (p Problem) follows(other Problem) bool { return strings.Contains(p.What, other.What) }

// String is the problem in a line.
func (p Problem) String() string { return "problem: " + p.What + "; fix: " + p.Fix }

// Note is the problem in a line, of one that is none now.
func (p Problem) Note() string { return "note: " + p.What + "; " + p.Fix }

// Look reports each problem as soon as it is found, and returns whether there
// was any. The error is about the options, or that of the context.
func Look(ctx context.Context, o Options, report func(Problem)) (found bool, err error) {
	if o.Root != "" {
		if _, err = os.Stat(o.Root); err != nil {
			return false, err
		}
		if len(o.References) > 0 {
			return false, usage.Errorf("a REF can only be pulled on a node, not in --root")
		}
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	return load(o).look(ctx, o.Root == "", report)
}

// look is Look, where the gateway runs, or where there are only files.
func (d *doctor) look(ctx context.Context, runs bool, report func(Problem)) (found bool, err error) {
	var all []Problem
	for _, c := range d.checks(runs) {
		for _, p := range c.look(ctx) {
			if d.config != nil && d.isInTable(p) {
				continue
			}
			if !slices.ContainsFunc(all, p.follows) {
				all = append(all, p)
				report(p)
			}
		}
		if err = ctx.Err(); err != nil {
			return all != nil, err
		}
	}
	failed := d.config != nil && d.pullAll(ctx, all)
	return failed || all != nil, ctx.Err()
}

// Try reports what keeps the gateway of a fresh installation from answering for
// its registries. It may take some seconds to start, or to take up a changed
// configuration.
func Try(ctx context.Context, o Options, report func(Problem)) (found bool, err error) {
	const times = 4
	o.Now = time.Now()
	d := load(o)
	var all []Problem
	for i := range times {
		if all = d.tryOnce(ctx); all == nil || i == times-1 {
			break
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	for _, p := range all {
		report(p)
	}
	return all != nil, ctx.Err()
}

func (d *doctor) tryOnce(ctx context.Context) []Problem {
	for _, look := range []func(context.Context) []Problem{d.checkRecord, d.checkConfig, d.checkHosts, d.checkCertificates, d.checkAnswers} {
		if found := look(ctx); found != nil {
			return found
		}
	}
	return nil
}

// doctor is what the checks use. The checks report what could not be read.
type doctor struct {
	Options
	config       *config.Config // nil when it cannot be read
	configErr    error          // why not
	record       *node.Record   // of the installation; empty when it cannot be read
	recordErr    error          // why not
	certs        []string       // directories with hosts.toml files
	installation node.Options   // the options with which to repeat the installation
	stopped      []stop         // found by the checks so far
	silent       *Problem       // of a gateway that answers nobody
}

// load reads what the checks use.
func load(o Options) *doctor {
	d := &doctor{Options: o}
	if d.record, d.recordErr = node.ReadRecord(o.Root); d.recordErr != nil {
		d.record = new(node.Record)
	}
	if d.installation = d.record.Options; len(d.installation.For) == 0 {
		d.installation.For = []string{node.Containerd}
		d.installation.ContainerdCerts = node.Directories{config.ContainerdCerts}
	}
	d.certs = d.installation.HostsDirs()
	text, err := os.ReadFile(d.at(o.Config))
	if err == nil {
		d.config, err = config.ParseGateway(o.Config, text)
	}
	if d.configErr = err; err == nil {
		g, i := d.config.Gateway, &d.installation
		i.Mode, i.Registries, i.Allow, i.Address = g.Mode, g.Registries, g.Allow, g.Address
		i.DockerConfig = d.config.Credentials.DockerConfig
	}
	return d
}

// note reports what is no problem now.
func (d *doctor) note(what, fix string) {
	if p := (Problem{what, fix}); d.Note != nil && (d.config == nil || !d.isInTable(p)) {
		d.Note(p)
	}
}

// at is the path of a file of the node for this process.
func (d *doctor) at(path string) string { return filepath.Join(d.Root, path) }

// check is one check.
type check struct {
	name string
	look func(context.Context) []Problem
}

// checks returns all checks in their order: the first ones explain what the
// later ones find.
func (d *doctor) checks(runs bool) []check {
	all := []check{
		{"the record of the installation", d.checkRecord},
		{"the gateway's configuration", d.checkConfig},
	}
	if d.config != nil {
		all = append(all,
			check{"who may read and write the files that it names", d.checkFiles},
			check{"other programs that write or read hosts.toml", d.checkNeighbours},
			check{"hosts.toml of each registry", d.checkHosts},
			check{"the gateway's own hosts.toml of each registry", d.checkUpstream},
			check{"mirrors of podman, buildah, skopeo and CRI-O", d.checkContainers},
			check{"certificates of the gateway and of its clients", d.checkCertificates},
			check{"credentials and rewrites of k3s and RKE2", d.checkRancher},
			check{"buildkitd's configuration", d.checkBuildKit},
			check{"proxies", d.checkProxy})
	}
	if d.config != nil && runs {
		all = append(all,
			check{"credentials of each registry", d.checkCredentials},
			check{"whether the gateway answers, for itself and for each registry", d.checkAnswers})
	}
	if d.installation.Names(node.Docker) {
		all = append(all, check{"Docker Engine's image store and registries", func(ctx context.Context) []Problem { return d.checkDocker(ctx, runs) }})
	}
	return append(all,
		check{"where containerd looks for hosts.toml", d.checkRoots},
		check{"whether CRI pulls all members", d.checkPull})
}

// start, see and reload are what to do with the gateway's process.
func (d *doctor) start() string {
	if d.installation.NoSystemd {
		return "start nestctl gateway --config " + d.Config + ", and read its log"
	}
	return "systemctl restart nested-gateway.socket nested-gateway; journalctl -u nested-gateway says more"
}

func (d *doctor) seeLogs() string {
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

// checkRecord checks that the record of the installation can be read.
func (d *doctor) checkRecord(context.Context) []Problem {
	return problemsOf(d.recordErr, "run nestctl doctor as root")
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
	return append(problemsOf(d.configErr, ""), problemsOf(config.CheckFile(d.at(d.Config)), "")...)
}

// checkFiles checks who may read and write files.
func (d *doctor) checkFiles(context.Context) []Problem {
	g := d.config.Gateway
	found := slices.Concat(
		problemsOf(config.CheckSecret(d.at(g.Certificate)), "nestctl install as before"),
		problemsOf(config.CheckFile(d.at(g.ClientCA)), "nestctl install as before"),
		problemsOf(absent(config.CheckDir(d.at(g.StateDir))), ""))
	for _, registry := range g.Registries {
		found = append(found, problemsOf(config.CheckHosts(d.Root, g.HostsDir, registry), "")...)
	}
	if g.Mode != "node" {
		return found
	}
	for _, path := range d.config.Credentials.DockerConfig {
		err := config.CheckSecret(config.DockerFile(d.at(path)))
		found = append(found, problemsOf(absent(err), "make it a file that root can read")...)
	}
	return found
}

// absent returns an error, unless it says that something does not exist.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// problemsOf turns an error into problems. The fix is often in the error: a
// configuration has one for each of its problems, other errors end in it.
func problemsOf(err error, fix string) []Problem {
	if err == nil {
		return nil
	}
	var bad *config.Error
	if errors.As(err, &bad) {
		var all []Problem
		for _, p := range bad.Problems {
			all = append(all, Problem{strings.TrimSuffix(p.String(), "; "+p.Fix), p.Fix})
		}
		if bad.More > 0 {
			all = append(all, Problem{bad.Rest(), "fix those, and run this again"})
		}
		return all
	}
	what := err.Error()
	if i := strings.LastIndex(what, "; "); i > 0 {
		what, fix = what[:i], what[i+2:]
	}
	return []Problem{{what, fix}}
}
