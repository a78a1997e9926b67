package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
)

const modesHelp = "node (the node's Docker credentials, for all pods) or pod (each pod's own pull secrets)"

func newInstall() *cobra.Command {
	var o installOptions
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
			if err := o.checkSource(renew, again, cmd.Flags().Changed); err != nil {
				return err
			}
			run := func() error { return runInstall(cmd.Context(), cmd.OutOrStdout(), root, o, cmd.Flags().Changed) }
			switch {
			case renew:
				run = func() error { return runRenew(cmd.OutOrStdout(), root, time.Now()) }
			case again:
				run = func() error { return runAgain(cmd.Context(), cmd.OutOrStdout(), root) }
			default:
				if err := o.load(); err != nil {
					return err
				}
				if err := o.check(); err != nil {
					return err
				}
			}
			if every > 0 {
				return repeat(cmd.Context(), every, run)
			}
			return run()
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Mode, "mode", "", "whose credentials pull: "+modesHelp)
	flags.StringArrayVar(&o.Registries, "registry", nil, "registry whose bundles are to be pulled, host or host:port (repeatable)")
	flags.StringArrayVar(&o.Allow, "allow", nil, "repositories that are served, with all below: registry/path with * and ** (repeatable; default all)")
	flags.StringArrayVar((*[]string)(&o.ContainerdCerts), "containerd-certs", nil, "containerd's directory with hosts.toml files\n"+
		"(repeatable; adds to those of an earlier installation; default those, or "+defaultHostsDir+")")
	flags.StringVar(&o.Address, "address", defaults.Gateway.Address, "loopback address of the gateway")
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

// openInstaller opens a disk with its record, and keeps other installers out.
func openInstaller(root string, certs []string, now time.Time) (*planner, func(), error) {
	d, err := openDisk(root)
	if err != nil {
		return nil, nil, err
	}
	d.follow(filepath.Dir(journalPath), unitDir, config.Default().Gateway.StateDir, defaultHostsDir)
	d.follow(certs...)
	if err = d.ownRoot(); err == nil {
		err = d.lock()
	}
	if err != nil {
		return nil, nil, errors.Join(err, d.close())
	}
	r, err := loadJournal(d)
	if err != nil {
		return nil, nil, errors.Join(err, d.close())
	}
	d.follow(r.Options.ContainerdCerts...)
	for _, e := range r.Files { // before anything is changed
		if _, err = d.read(e.Path); err != nil {
			return nil, nil, errors.Join(err, d.close())
		}
	}
	return &planner{installer: installer{disk: d, record: r}, now: now}, func() { _ = d.close() }, nil
}

// openInstalled is openInstaller for what is installed, with the options that
// it was installed with.
func openInstalled(root string, now time.Time) (*planner, func(), error) {
	p, closeAll, err := openInstaller(root, nil, now)
	if err != nil {
		return nil, nil, err
	}
	if len(p.record.Files) == 0 {
		closeAll()
		return nil, nil, errors.New("nothing is installed; run nestctl install --mode MODE --registry HOST")
	}
	p.options = p.record.Options
	return p, closeAll, nil
}

// runInstall installs.
func runInstall(ctx context.Context, out io.Writer, root string, o installOptions, given func(flag string) bool) error {
	p, closeAll, err := openInstaller(root, o.ContainerdCerts, time.Now())
	if err != nil {
		return err
	}
	defer closeAll()
	p.options, p.given = o, given
	p.options.ContainerdCerts = appendNew(p.record.Options.ContainerdCerts, o.ContainerdCerts)
	if len(p.options.ContainerdCerts) == 0 {
		p.options.ContainerdCerts = directories{defaultHostsDir}
	}
	if p.program, err = program(root); err != nil {
		return err
	}
	wanted, err := p.plan()
	if err != nil {
		return err
	}
	live := hasSystemd(root)
	if root == "" && !p.options.NoSystemd {
		if err := checkProgram(p.program); err != nil {
			return err
		}
	}
	if live && p.options.NoSystemd && p.hasUnits() {
		if err := stopUnits(ctx); err != nil {
			return err
		}
	}
	if err := p.apply(p.options, wanted); err != nil {
		return err
	}
	if live && !p.options.NoSystemd {
		if err := startUnits(ctx, p.done.all()); err != nil {
			return err
		}
	}
	p.report(out, root, live)
	return nil
}

// runAgain installs what is installed.
func runAgain(ctx context.Context, out io.Writer, root string) error {
	p, closeAll, err := openInstalled(root, time.Now())
	if err != nil {
		return err
	}
	defer closeAll()
	p.again = true
	if p.program, err = program(root); err != nil {
		return err
	}
	wanted, err := p.plan()
	if err != nil {
		return err
	}
	if err := p.apply(p.options, wanted); err != nil {
		return err
	}
	if hasSystemd(root) && !p.options.NoSystemd && len(p.done.all()) > 0 {
		if err := startUnits(ctx, p.done.all()); err != nil {
			return err
		}
	}
	p.done.print(out)
	return nil
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

// report says what was done and what is next.
func (p *planner) report(out io.Writer, root string, live bool) {
	p.done.print(out)
	if len(p.done.all()) == 0 {
		fmt.Fprintln(out, "installed already; nothing changed")
	}
	for _, note := range p.notes {
		fmt.Fprintln(out, "note:", note)
	}
	switch {
	case p.options.NoSystemd:
		fmt.Fprintf(out, "next: run %s gateway --config %s as a service, and %s install --renew every day\n", p.program, config.Path, p.program)
	case root != "":
		if there, err := p.disk.read(p.program); err == nil && there == nil {
			fmt.Fprintf(out, "next: put nestctl there as %s\n", p.program)
		}
		fmt.Fprintf(out, "next: systemctl --root=%s enable %s\n", root, strings.Join(startedUnits(), " "))
	case !live:
		fmt.Fprintln(out, "systemd does not run here, which is to start the gateway; without it, install with --no-systemd")
		fmt.Fprintf(out, "next: systemctl daemon-reload && systemctl enable --now %s\n", strings.Join(startedUnits(), " "))
	}
	fmt.Fprintf(out, "next: containerd's config_path must be %s alone; nestctl doctor looks whether all is well\n", strings.Join(p.options.ContainerdCerts, " or "))
	fmt.Fprintln(out, "containerd reads hosts.toml at each pull and need not be restarted for it")
}

// all lists the files that changed.
func (c *changes) all() []string { return slices.Concat(c.wrote, c.removed, c.restored) }

// print lists files.
func (c *changes) print(out io.Writer) {
	for _, list := range []struct {
		verb  string
		paths []string
	}{{"wrote", c.wrote}, {"removed", c.removed}, {"restored", c.restored}} {
		for _, path := range list.paths {
			fmt.Fprintln(out, list.verb, path)
		}
	}
	for _, text := range c.left {
		fmt.Fprintln(out, "left", text)
	}
}

// runRenew renews certificates that are about to end, and puts the gateway back
// where somebody has written hosts.toml anew, or removed it. A gateway that runs
// sees that by itself.
func runRenew(out io.Writer, root string, now time.Time) error {
	p, closeAll, err := openInstalled(root, now)
	if err != nil {
		return err
	}
	defer closeAll()
	plan := p.planRenewal
	if p.again, err = p.writtenAnew(); err != nil {
		return err
	}
	if p.again {
		p.keepUnits, plan = true, p.plan
	}
	wanted, err := plan()
	if err != nil {
		return err
	}
	if wanted == nil {
		_, err := fmt.Fprintf(out, "the certificates are good until %s; nothing changed\n", p.until.Format(time.DateOnly))
		return err
	}
	if err := p.apply(p.options, wanted); err != nil {
		return err
	}
	p.done.print(out)
	return nil
}
