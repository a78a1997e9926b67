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
	"github.com/spf13/pflag"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/doctor"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/terminal"
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
		Long: `Makes certificates, adds the gateway to the programs' hosts.toml files as a mirror
of the registries, and writes the gateway's configuration and systemd units. What
an administrator wrote there stays. nestctl uninstall restores the earlier files.

--for names the programs. They are remembered, and later installations add to
them. Without --for, the first installation is for the programs that are found on
the node, or for containerd.

Without flags, the earlier installation is repeated: missing files are restored,
the gateway is added to a hosts.toml that was replaced, and certificates are
renewed when less than a third of their lifetime is left. A systemd timer does
this every day.`,
		Example: `  nestctl install --mode pod --registry registry.example.com
  nestctl install --for docker,podman --dry-run`,
		Args: cobra.NoArgs,
		RunE: i.run,
	}
	i.addFlags(c)
	c.SetFlagErrorFunc(installFlagError)
	return c
}

func (i *installCommand) addFlags(c *cobra.Command) {
	o, flags, defaults := &i.options, c.Flags(), config.Default()
	flags.StringArrayVar(&o.For, "for", nil, "`programs` to install for, with commas (repeatable): "+strings.Join(node.ClientNames(), ", "))
	flags.StringVar(&o.Mode, "mode", "", "whose credentials are used to pull, `node|pod`: "+node.ModesHelp)
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry to pull bundles from, `host[:port]` (repeatable)")
	flags.StringArrayVar(&o.Allow, "allow", nil, "serve only the repositories that match this `pattern`, registry/path with * and **, and those below them (repeatable; default: all)")
	flags.StringArrayVar((*[]string)(&o.ContainerdCerts), "containerd-certs", nil, "containerd's `directory` with hosts.toml files "+
		"(repeatable; added to those of an earlier installation; default: those, or "+config.ContainerdCerts+")")
	flags.StringVar(&o.Address, "address", "", fmt.Sprintf("loopback address of the gateway, `ip:port` (default %q)", defaults.Gateway.Address))
	flags.StringArrayVar(&o.DockerConfig, "docker-config", nil, "Docker configuration `file` with credentials (repeatable; default "+
		strings.Join(defaults.Credentials.DockerConfig, ", ")+")")
	flags.StringVar(&o.AllowGroup, "allow-group", "", "`group`, name or number, that may use the gateway besides root, with podman, buildah and skopeo (default: none)")
	flags.BoolVar(&o.NoSystemd, "no-systemd", false, "do not write systemd units")
	flags.StringVar(&o.ConfigFile, "config", "", "install this configuration `file` of the gateway, instead of one made from the other flags")
	flags.BoolVar(&i.dry, "dry-run", false, "show what would be done, and change nothing")
	flags.StringVar(&i.root, "root", "", "install into the image in this `directory`, instead of on this node")
	flags.BoolVar(&i.stay, "stay", false, fmt.Sprintf("keep running until SIGTERM, and repeat the installation every %g minutes and when a hosts.toml changes; for containers", stayInterval.Minutes()))
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
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if ok && slices.Contains([]string{"again", "renew", "every"}, unknown.GetSpecifiedName()) {
		return usage.Errorf("--%s: no such flag any more; write nestctl install without flags, which repeats the installation, or nestctl install --stay, "+
			"which does so every %g minutes", unknown.GetSpecifiedName(), stayInterval.Minutes())
	}
	return cmd.Parent().FlagErrorFunc()(cmd, err)
}

// tryInstalled asks the gateway for each registry, as its clients will.
func tryInstalled(ctx context.Context, out io.Writer) error {
	found, err := doctor.Try(ctx, doctor.Options{Config: config.Path}, func(p doctor.Problem) { printFound(out, terminal.Bad, p.String()) })
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
