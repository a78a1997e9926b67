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
	"github.com/nestedoci/nested/internal/doctor"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/usage"
)

// stayInterval is how often install --stay repeats the installation, for what
// happens beside the hosts.toml files, which it watches.
const stayInterval = 10 * time.Minute

// installCommand are the flags of install.
type installCommand struct {
	options node.Options
	root    string
	dry     bool
	stay    bool
}

func newInstall() *cobra.Command {
	var i installCommand
	c := &cobra.Command{
		Use:   "install [--mode node|pod --registry HOST...] [--for PROGRAM...]",
		Short: "Make the programs of this node pull nested bundles through a gateway",
		Long: "Makes certificates, puts the gateway before the registries' hosts in the programs' hosts.toml files, and\n" +
			"writes the gateway's configuration and systemd units. What an administrator has written there stays.\n" +
			"nestctl uninstall restores the earlier files.\n\n" +
			"--for names the programs. An installation remembers all of them, and a later one adds to them. Without it\n" +
			"the first installation is for those that are found on the node, or else for containerd.\n\n" +
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
	flags.StringArrayVar(&o.For, "for", nil, "program to install for, or several with commas (repeatable): "+strings.Join(node.ClientNames(), ", "))
	flags.StringVar(&o.Mode, "mode", "", "whose credentials pull: "+node.ModesHelp)
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry to pull bundles from, host or host:port (repeatable)")
	flags.StringArrayVar(&o.Allow, "allow", nil, "repositories to serve, with everything below them: registry/path with * and ** (repeatable; default all)")
	flags.StringArrayVar((*[]string)(&o.ContainerdCerts), "containerd-certs", nil, "containerd's directory with hosts.toml files\n"+
		"(repeatable; added to those of an earlier installation; default those, or "+config.ContainerdCerts+")")
	flags.StringVar(&o.Address, "address", "", fmt.Sprintf("loopback address of the gateway (default %q)", defaults.Gateway.Address))
	flags.StringArrayVar(&o.DockerConfig, "docker-config", nil, "Docker configuration file with credentials (repeatable; default "+
		strings.Join(defaults.Credentials.DockerConfig, ", ")+")")
	flags.StringVar(&o.AllowGroup, "allow-group", "", "group that may use the gateway, besides root, with podman, buildah and skopeo: name or number (default none)")
	flags.BoolVar(&o.NoSystemd, "no-systemd", false, "do not write systemd units")
	flags.StringVar(&o.ConfigFile, "config", "", "gateway configuration file to install, in place of the flags above")
	flags.BoolVar(&i.dry, "dry-run", false, "show what would be done, and change nothing")
	flags.StringVar(&i.root, "root", "", "install into the image in this directory, in place of this node")
	flags.BoolVar(&i.stay, "stay", false, fmt.Sprintf("keep running until SIGTERM, and repeat the installation every %g minutes, and when a hosts.toml changes; for containers", stayInterval.Minutes()))
}

// run installs once, and with --stay goes on.
func (i *installCommand) run(cmd *cobra.Command, _ []string) error {
	ctx, text := cmd.Context(), cmd.OutOrStdout()
	out := text
	if i.options.Names(node.BuildKit) {
		out = cmd.ErrOrStderr() // the text can be appended to a file
	}
	if i.dry {
		done, err := node.DryRun(ctx, i.root, i.options)
		fmt.Fprintf(text, "%s", done.BuildKit)
		printLines(out, done.Plan())
		return err
	}
	done, err := node.Install(ctx, i.root, i.options)
	if err != nil {
		return err
	}
	fmt.Fprintf(text, "%s", done.BuildKit)
	printLines(out, done.Report(i.root))
	if done.Started && !done.Repeated {
		err = tryInstalled(ctx, out)
	}
	if err != nil || !i.stay {
		return err
	}
	return node.Stay(ctx, i.root, stayInterval, func(done node.Changes) { printLines(out, done.Lines()) })
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

// tryInstalled asks the gateway for each registry, as its clients will.
func tryInstalled(ctx context.Context, out io.Writer) error {
	found, err := doctor.Try(ctx, doctor.Options{Config: config.Path}, func(p doctor.Problem) { printFound(out, p.String()) })
	if found {
		return errors.New("it is installed, and does not work yet; fix the problems above, and run nestctl doctor")
	}
	if err == nil {
		fmt.Fprintln(out, "tried: the gateway answers, and reaches each registry")
	}
	return err
}

func printLines(out io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
}
