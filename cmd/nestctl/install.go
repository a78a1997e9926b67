package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	installer "github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/usage"
)

func newInstall() *cobra.Command {
	var o installer.Options
	var root string
	var renew, again bool
	var every time.Duration
	defaults := config.Default()
	c := &cobra.Command{
		Use:   "install --mode node|pod --registry HOST...",
		Short: "Make stock containerd pull nested bundles through a gateway on this node",
		Long: "Makes certificates, puts the gateway before the hosts of the registries in containerd's hosts.toml files,\n" +
			"and writes the gateway's configuration and systemd units. What an administrator has written stays;\n" +
			"nestctl uninstall brings back what was there before.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRepetition(renew, again, cmd.Flags().Changed); err != nil {
				return err
			}
			run := func() error { return runInstall(cmd.Context(), cmd.OutOrStdout(), root, o) }
			switch {
			case renew:
				run = func() error { return runRenew(cmd.OutOrStdout(), root) }
			case again:
				run = func() error { return runAgain(cmd.Context(), cmd.OutOrStdout(), root) }
			}
			if every > 0 {
				return repeat(cmd.Context(), every, run)
			}
			return run()
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Mode, "mode", "", "whose credentials pull: "+installer.ModesHelp)
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry whose bundles are to be pulled, host or host:port (repeatable)")
	flags.StringArrayVar(&o.Allow, "allow", nil, "repositories that are served, with all below: registry/path with * and ** (repeatable; default all)")
	flags.StringArrayVar((*[]string)(&o.ContainerdCerts), "containerd-certs", nil, "containerd's directory with hosts.toml files\n"+
		"(repeatable; adds to those of an earlier installation; default those, or "+config.ContainerdCerts+")")
	flags.StringVar(&o.Address, "address", "", fmt.Sprintf("loopback address of the gateway (default %q)", defaults.Gateway.Address))
	flags.StringArrayVar(&o.DockerConfig, "docker-config", nil, "Docker configuration file with credentials (repeatable; default "+
		strings.Join(defaults.Credentials.DockerConfig, ", ")+")")
	flags.BoolVar(&o.NoSystemd, "no-systemd", false, "write no systemd units")
	flags.BoolVar(&renew, "renew", false, "only renew the certificates of an installation when less than a third of their life is left,\n"+
		"and put the gateway back where somebody has written hosts.toml anew")
	flags.StringVar(&o.ConfigFile, "config", "", "gateway configuration to install, in place of what other flags say of it")
	flags.BoolVar(&again, "again", false, "install as it was installed before, with certificates that are about to end renewed")
	flags.DurationVar(&every, "every", 0, "with --again or --renew: go on until it fails, and do it so often")
	flags.StringVar(&root, "root", "", "directory of an image to install into, in place of this node")
	return c
}

// checkRepetition refuses flags that say what to install beside those that go
// by what is installed.
func checkRepetition(renew, again bool, given func(flag string) bool) error {
	const help = "; see nestctl install --help"
	says := []string{"mode", "registry", "allow", "address", "docker-config", "config", "containerd-certs", "no-systemd"}
	if i := slices.IndexFunc(says, given); i >= 0 && (renew || again) {
		return usage.Errorf("--%s: --again and --renew go by what was installed before"+help, says[i])
	}
	switch {
	case renew && again:
		return usage.Errorf("--again renews, too; leave out --renew" + help)
	case given("every") && !renew && !again:
		return usage.Errorf("--every: needs --again or --renew" + help)
	}
	return nil
}

func runInstall(ctx context.Context, out io.Writer, root string, o installer.Options) error {
	done, err := installer.Install(ctx, root, o)
	if err == nil {
		printInstalled(out, root, done)
	}
	return err
}

func runAgain(ctx context.Context, out io.Writer, root string) error {
	done, err := installer.Repeat(ctx, root)
	if err == nil {
		printChanges(out, done.Changes)
	}
	return err
}

func runRenew(out io.Writer, root string) error {
	done, err := installer.Renew(root)
	if err == nil && len(done.Paths()) == 0 {
		_, err = fmt.Fprintf(out, "the certificates are good until %s; nothing changed\n", done.Until.Format(time.DateOnly))
		return err
	}
	if err == nil {
		printChanges(out, done.Changes)
	}
	return err
}

// repeat does something until the context ends, or it fails: whoever starts
// it again sees that.
func repeat(ctx context.Context, every time.Duration, do func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := do(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// printInstalled says what was done and what is next.
func printInstalled(out io.Writer, root string, done installer.Result) {
	printChanges(out, done.Changes)
	if len(done.Paths()) == 0 {
		fmt.Fprintln(out, "installed already; nothing changed")
	}
	for _, note := range done.Notes {
		fmt.Fprintln(out, "note:", note)
	}
	started := strings.Join(installer.StartedUnits(), " ")
	switch {
	case done.Options.NoSystemd:
		fmt.Fprintf(out, "next: run %s gateway --config %s as a service, and %s install --renew every day\n", done.Program, config.Path, done.Program)
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
func printChanges(out io.Writer, c installer.Changes) {
	for _, list := range []struct {
		verb  string
		paths []string
	}{{"wrote", c.Wrote}, {"removed", c.Removed}, {"restored", c.Restored}, {"left", c.Left}} {
		for _, path := range list.paths {
			fmt.Fprintln(out, list.verb, path)
		}
	}
}
