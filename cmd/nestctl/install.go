package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/usage"
)

// stayInterval is how often install --stay repeats the installation: k3s and
// RKE2 write hosts.toml anew when they start, and members cannot be pulled
// until the gateway is in it again.
const stayInterval = 10 * time.Minute

// installCommand are the flags of install.
type installCommand struct {
	options node.Options
	root    string
	stay    bool
}

func newInstall() *cobra.Command {
	var i installCommand
	c := &cobra.Command{
		Use:   "install [--mode node|pod --registry HOST...]",
		Short: "Make stock containerd pull nested bundles through a gateway on this node",
		Long: "Makes certificates, puts the gateway before the registries' hosts in containerd's hosts.toml files, and\n" +
			"writes the gateway's configuration and systemd units. What an administrator has written there stays.\n" +
			"nestctl uninstall restores the earlier files.\n\n" +
			"Without options it repeats the earlier installation: it restores missing files, puts the gateway back\n" +
			"into a hosts.toml that has been replaced, and renews the certificates when less than a third of their\n" +
			"lifetime is left. A systemd timer does so every day.",
		Args: cobra.NoArgs,
		RunE: i.run,
	}
	i.addFlags(c)
	c.SetFlagErrorFunc(installFlagError)
	return c
}

func (i *installCommand) addFlags(c *cobra.Command) {
	o, flags, defaults := &i.options, c.Flags(), config.Default()
	flags.StringVar(&o.Mode, "mode", "", "whose credentials pull: "+node.ModesHelp)
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry to pull bundles from, host or host:port (repeatable)")
	flags.StringArrayVar(&o.Allow, "allow", nil, "repositories to serve, with everything below them: registry/path with * and ** (repeatable; default all)")
	flags.StringArrayVar((*[]string)(&o.ContainerdCerts), "containerd-certs", nil, "containerd's directory with hosts.toml files\n"+
		"(repeatable; added to those of an earlier installation; default those, or "+config.ContainerdCerts+")")
	flags.StringVar(&o.Address, "address", "", fmt.Sprintf("loopback address of the gateway (default %q)", defaults.Gateway.Address))
	flags.StringArrayVar(&o.DockerConfig, "docker-config", nil, "Docker configuration file with credentials (repeatable; default "+
		strings.Join(defaults.Credentials.DockerConfig, ", ")+")")
	flags.BoolVar(&o.NoSystemd, "no-systemd", false, "do not write systemd units")
	flags.StringVar(&o.ConfigFile, "config", "", "gateway configuration file to install, in place of the flags above")
	flags.StringVar(&i.root, "root", "", "install into the image in this directory, in place of this node")
	flags.BoolVar(&i.stay, "stay", false, fmt.Sprintf("keep running until SIGTERM, and repeat the installation every %g minutes; for containers", stayInterval.Minutes()))
}

// run installs once, and with --stay goes on.
func (i *installCommand) run(cmd *cobra.Command, _ []string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if err := runInstall(ctx, out, i.root, i.options); err != nil || !i.stay {
		return err
	}
	return node.Stay(ctx, i.root, stayInterval, func(done node.Changes) { printChanges(out, done) })
}

// installFlagError says of flags that earlier versions wrote into units and
// manifests what to write now.
func installFlagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[interface {
		error
		GetSpecifiedName() string // as those of pflag
	}](err)
	if ok && slices.Contains([]string{"again", "renew", "every"}, unknown.GetSpecifiedName()) {
		return usage.Errorf("%w; write nestctl install without options, which repeats the installation, or nestctl install --stay, "+
			"which does so every %g minutes", err, stayInterval.Minutes())
	}
	return cmd.Parent().FlagErrorFunc()(cmd, err)
}

// runInstall installs what the options say. Without options it repeats the
// earlier installation, so that a timer and an administrator run the same
// command.
func runInstall(ctx context.Context, out io.Writer, root string, o node.Options) error {
	if o.IsZero() {
		if err := runRepeat(ctx, out, root); !errors.Is(err, node.ErrNotInstalled) {
			return err
		}
	}
	done, err := node.Install(ctx, root, o)
	if err == nil {
		printInstalled(out, root, done)
	}
	return err
}

func runRepeat(ctx context.Context, out io.Writer, root string) error {
	done, err := node.Repeat(ctx, root)
	if err != nil {
		return err
	}
	printChanges(out, done.Changes)
	if len(done.Paths()) == 0 {
		_, err = fmt.Fprintf(out, "the certificates are good until %s; nothing changed\n", done.Until.Format(time.DateOnly))
	}
	return err
}

// printInstalled prints what was done, and the steps that only the
// administrator can take.
func printInstalled(out io.Writer, root string, done node.Result) {
	printChanges(out, done.Changes)
	if len(done.Paths()) == 0 {
		fmt.Fprintln(out, "installed already; nothing changed")
	}
	for _, note := range done.Notes {
		fmt.Fprintln(out, "note:", note)
	}
	started := strings.Join(node.StartedUnits(), " ")
	switch {
	case done.Options.NoSystemd:
		fmt.Fprintf(out, "next: run %s gateway --config %s as a service, and %s install every day\n", done.Program, config.Path, done.Program)
	case root != "":
		if done.ProgramMissing {
			fmt.Fprintf(out, "next: install nestctl there as %s\n", done.Program)
		}
		fmt.Fprintf(out, "next: systemctl --root=%s enable %s\n", root, started)
	case !done.Systemd:
		fmt.Fprintln(out, "systemd, which starts the gateway, does not run here; without systemd use --no-systemd")
		fmt.Fprintf(out, "next: systemctl daemon-reload && systemctl enable --now %s\n", started)
	}
	fmt.Fprintf(out, "next: containerd's config_path must be %s alone; nestctl doctor checks the installation\n", strings.Join(done.Options.ContainerdCerts, " or "))
	fmt.Fprintln(out, "containerd reads hosts.toml at each pull; it need not be restarted")
}

// printChanges lists files with what was done to them.
func printChanges(out io.Writer, c node.Changes) {
	for _, list := range []struct {
		verb  string
		paths []string
	}{{"wrote", c.Wrote}, {"removed", c.Removed}, {"restored", c.Restored}, {"left", c.Left}} {
		for _, path := range list.paths {
			fmt.Fprintln(out, list.verb, path)
		}
	}
}
