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

// stayInterval is how often install --stay installs once more: k3s and RKE2
// write hosts.toml anew when they start, and members are not pulled until the
// gateway is back in it.
const stayInterval = 10 * time.Minute

// installCommand are the flags of install.
type installCommand struct {
	options node.Options
	root    string
	stay    bool
	earlier earlierInstall
}

func newInstall() *cobra.Command {
	var i installCommand
	c := &cobra.Command{
		Use:   "install [--mode node|pod --registry HOST...]",
		Short: "Make stock containerd pull nested bundles through a gateway on this node",
		Long: "Makes certificates, puts the gateway before the hosts of the registries in containerd's hosts.toml files,\n" +
			"and writes the gateway's configuration and systemd units. What an administrator has written stays;\n" +
			"nestctl uninstall brings back what was there before.\n\n" +
			"Without options it installs once more what is installed: puts back what is missing, puts the gateway\n" +
			"back where somebody has written hosts.toml anew, and renews the certificates when less than a third of\n" +
			"their life is left. The timer of systemd does so every day.",
		Args: cobra.NoArgs,
		RunE: i.run,
	}
	i.addFlags(c)
	i.earlier.addFlags(c)
	return c
}

func (i *installCommand) addFlags(c *cobra.Command) {
	o, flags, defaults := &i.options, c.Flags(), config.Default()
	flags.StringVar(&o.Mode, "mode", "", "whose credentials pull: "+node.ModesHelp)
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry whose bundles are to be pulled, host or host:port (repeatable)")
	flags.StringArrayVar(&o.Allow, "allow", nil, "repositories that are served, with all below: registry/path with * and ** (repeatable; default all)")
	flags.StringArrayVar((*[]string)(&o.ContainerdCerts), "containerd-certs", nil, "containerd's directory with hosts.toml files\n"+
		"(repeatable; adds to those of an earlier installation; default those, or "+config.ContainerdCerts+")")
	flags.StringVar(&o.Address, "address", "", fmt.Sprintf("loopback address of the gateway (default %q)", defaults.Gateway.Address))
	flags.StringArrayVar(&o.DockerConfig, "docker-config", nil, "Docker configuration file with credentials (repeatable; default "+
		strings.Join(defaults.Credentials.DockerConfig, ", ")+")")
	flags.BoolVar(&o.NoSystemd, "no-systemd", false, "write no systemd units")
	flags.StringVar(&o.ConfigFile, "config", "", "gateway configuration to install, in place of what other flags say of it")
	flags.StringVar(&i.root, "root", "", "directory of an image to install into, in place of this node")
	flags.BoolVar(&i.stay, "stay", false, fmt.Sprintf("go on until SIGTERM, and install once more every %g minutes; for a container", stayInterval.Minutes()))
}

func (i *installCommand) run(cmd *cobra.Command, _ []string) error {
	if err := i.earlier.check(cmd.Flags().Changed); err != nil {
		return err
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	every := i.earlier.every
	if i.stay {
		every = stayInterval
	}
	var err error
	if i.earlier.again || i.earlier.renew {
		err = runRepeat(ctx, out, i.root)
	} else {
		err = runInstall(ctx, out, i.root, i.options)
	}
	if err != nil || every <= 0 {
		return err
	}
	return repeat(ctx, out, i.root, every)
}

// earlierInstall are flags that units and manifests of earlier versions have.
type earlierInstall struct {
	again, renew bool          // as without options
	every        time.Duration // as --stay
}

func (e *earlierInstall) addFlags(c *cobra.Command) {
	c.Flags().BoolVar(&e.again, "again", false, "")
	c.Flags().BoolVar(&e.renew, "renew", false, "")
	c.Flags().DurationVar(&e.every, "every", 0, "")
	for _, name := range []string{"again", "renew", "every"} {
		c.Flags().Lookup(name).Hidden = true
	}
}

// check refuses them beside flags that say what to install.
func (e *earlierInstall) check(given func(flag string) bool) error {
	const help = "; see nestctl install --help"
	says := []string{"mode", "registry", "allow", "address", "docker-config", "config", "containerd-certs", "no-systemd"}
	i := slices.IndexFunc(says, given)
	switch {
	case i >= 0 && (e.again || e.renew):
		return usage.Errorf("--%s: --again and --renew go by what was installed before"+help, says[i])
	case given("every") && !e.again && !e.renew:
		return usage.Errorf("--every: needs --again or --renew" + help)
	}
	return nil
}

// runInstall installs what the options say. When they say nothing, what is
// installed is installed once more.
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

// repeat installs once more so often, until the context ends, or it fails:
// whoever starts it again sees that. It prints what has changed.
func repeat(ctx context.Context, out io.Writer, root string, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		done, err := node.Repeat(ctx, root)
		if err != nil {
			return err
		}
		printChanges(out, done.Changes)
	}
}

// printInstalled says what was done and what is next.
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
			fmt.Fprintf(out, "next: put nestctl there as %s\n", done.Program)
		}
		fmt.Fprintf(out, "next: systemctl --root=%s enable %s\n", root, started)
	case !done.Systemd:
		fmt.Fprintln(out, "systemd does not run here, which is to start the gateway; without it, install with --no-systemd")
		fmt.Fprintf(out, "next: systemctl daemon-reload && systemctl enable --now %s\n", started)
	}
	fmt.Fprintf(out, "next: containerd's config_path must be %s alone; nestctl doctor looks whether all is well\n", strings.Join(done.Options.ContainerdCerts, " or "))
	fmt.Fprintln(out, "containerd reads hosts.toml at each pull and need not be restarted for it")
}

// printChanges lists files.
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
