package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
)

// doctor looks at an installation. It changes nothing.
type doctor struct {
	root       string // see at
	image      bool   // nothing runs there
	configFile string
	containerd string // its configuration
	refs       []parent
	now        time.Time

	config  *config.Config // nil when it cannot be read
	unread  error          // why not
	http    *http.Client   // see client
	certs   []string       // where hosts.toml is installed
	record  *journal       // of the installation
	untold  error          // why it is not known
	options installOptions // with which to install as before
}

// problem is one thing that is wrong, and what puts it right.
type problem struct{ what, fix string }

// follows tells whether another problem says what this one is about.
func (p problem) follows(other problem) bool { return strings.Contains(p.what, other.what) }

func (p problem) String() string { return "problem: " + p.what + "; fix: " + p.fix }

// check is one thing that the doctor looks at.
type check struct {
	name string
	look func(context.Context) []problem
}

// checks is all of it, in the order of looking: the first ones explain what
// the later ones find.
func (d *doctor) checks() []check {
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
	if d.config != nil && !d.image {
		all = append(all,
			check{"credentials of each registry", d.checkCredentials},
			check{"whether the gateway answers, for itself, each registry and each REF", d.checkAnswers})
	}
	return append(all,
		check{"where containerd looks for hosts.toml", d.checkRoots},
		check{"whether CRI pulls all members", d.checkPull})
}

func newDoctor() *cobra.Command {
	d := doctor{now: time.Now()}
	c := &cobra.Command{
		Use:   "doctor [REF...]",
		Args:  cobra.ArbitraryArgs,
		Short: "Find out why containerd does not pull nested bundles through the gateway",
		Long: "Looks at the configurations of the gateway and of containerd, at hosts.toml, certificates, proxies and\n" +
			"credentials, asks the gateway for each registry, and pulls the manifests of each REF and its members through\n" +
			"it. Prints each problem with what puts it right; the exit status is 1 when there is one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				ref, err := parseParent(arg)
				if err != nil {
					return err
				}
				d.refs = append(d.refs, ref)
			}
			if d.image = d.root != ""; d.image {
				if _, err := os.Stat(d.root); err != nil {
					return err
				}
				if len(args) > 0 {
					return usage.Errorf("a REF is pulled by a node, not in --root")
				}
			}
			return d.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.StringVar(&d.configFile, "config", config.Path, "the gateway's configuration")
	flags.StringVar(&d.containerd, "containerd-config", "/etc/containerd/config.toml", "containerd's configuration")
	flags.StringVar(&d.root, "root", "", "directory of an image to look at, in place of this node; what runs is not asked")
	return c
}

// errProblems ends a doctor that found something; what, is printed.
var errProblems = errors.New("there are problems; put them right from the first on, and run nestctl doctor again")

func (d *doctor) run(ctx context.Context, out io.Writer) error {
	d.load()
	var found []problem
	for _, c := range d.checks() {
		for _, p := range c.look(ctx) {
			if !slices.ContainsFunc(found, p.follows) {
				found = append(found, p)
				fmt.Fprintln(out, sanitize.Text(sanitize.URLs(p.String())))
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if found != nil {
		return errProblems
	}
	_, err := fmt.Fprintln(out, "no problem found")
	return err
}

// at is where a path of the node is.
func (d *doctor) at(path string) string { return filepath.Join(d.root, path) }

// load reads what the checks go by. What cannot be read is found by them.
func (d *doctor) load() {
	d.record = new(journal)
	image, err := openDisk(d.root)
	if err == nil {
		var r *journal
		if r, err = loadJournal(image); err == nil {
			d.record, d.options = r, r.Options
		}
		_ = image.close()
	}
	d.untold = err
	if d.certs = d.options.ContainerdCerts; len(d.certs) == 0 {
		d.certs = []string{defaultHostsDir}
	}
	text, err := os.ReadFile(d.at(d.configFile))
	if err == nil {
		d.config, err = config.Parse(d.configFile, text)
	}
	if d.unread = err; err == nil {
		g := d.config.Gateway
		d.options.Mode, d.options.Registries, d.options.Allow = g.Mode, g.Registries, g.Allow
		d.options.ContainerdCerts, d.options.Address = d.certs, g.Address
		d.options.DockerConfig = d.config.Credentials.DockerConfig
	}
}

// start, see and reload are what to do with the gateway's process.
func (d *doctor) start() string {
	if d.options.NoSystemd {
		return "start nestctl gateway --config " + d.configFile + ", and read what it logs"
	}
	return "systemctl restart nested-gateway.socket nested-gateway; journalctl -u nested-gateway says more"
}

func (d *doctor) see() string {
	if d.options.NoSystemd {
		return "the gateway's log says more"
	}
	return "journalctl -u nested-gateway says more"
}

func (d *doctor) reload() string {
	if d.options.NoSystemd {
		return "send the gateway SIGHUP"
	}
	return "systemctl reload nested-gateway"
}

// checkRecord looks whether it is known what was installed.
func (d *doctor) checkRecord(context.Context) []problem {
	return because(d.untold, "run nestctl doctor as root")
}

const installFix = "nestctl install --mode MODE --registry HOST"

func (d *doctor) checkConfig(context.Context) []problem {
	var path *fs.PathError
	switch {
	case errors.Is(d.unread, fs.ErrNotExist):
		return []problem{{d.configFile + " does not exist", installFix}}
	case errors.As(d.unread, &path):
		return []problem{{path.Error(), "run nestctl doctor as root"}}
	}
	return append(because(d.unread, ""), because(config.CheckFile(d.at(d.configFile)), "")...)
}

// checkFiles looks at who may read and write files.
func (d *doctor) checkFiles(context.Context) []problem {
	g := d.config.Gateway
	found := slices.Concat(
		because(config.CheckSecret(d.at(g.Certificate)), "nestctl install as before"),
		because(config.CheckFile(d.at(g.ClientCA)), "nestctl install as before"),
		because(absent(config.CheckDir(d.at(g.StateDir))), ""))
	for _, registry := range g.Registries {
		found = append(found, because(config.CheckHosts(d.root, g.HostsDir, registry), "")...)
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
func because(err error, fix string) []problem {
	if err == nil {
		return nil
	}
	var bad *config.Error
	if errors.As(err, &bad) {
		var all []problem
		for _, p := range bad.Problems {
			all = append(all, problem{strings.TrimSuffix(p.String(), "; "+p.Right), p.Right})
		}
		return all
	}
	what := err.Error()
	if i := strings.LastIndex(what, "; "); i > 0 {
		what, fix = what[:i], what[i+2:]
	}
	return []problem{{what, fix}}
}
