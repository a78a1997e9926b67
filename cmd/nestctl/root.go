package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/log"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/manual"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/system"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// settings are flags of several commands.
type settings struct {
	hostsDir  string
	plainHTTP bool
	debug     bool
	// connections to one host; 0 for as many as are polite
	connections int
	credentials auth.Source // nil for the user's Docker stores
}

// newRoot returns the program's commands. Without --debug, libraries log errors
// only: standard error is for what the command itself has to say.
func newRoot() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:           "nestctl",
		Short:         "Pull and show nested bundles: image indexes whose members live in child repositories",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			level := "error"
			if s.debug {
				level = "debug"
			}
			log.L.Logger.SetOutput(sanitize.Log{Writer: cmd.ErrOrStderr()})
			return cmp.Or(log.SetLevel(level), system.Check(runtime.GOOS, cmd.Name()))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().BoolVar(&s.debug, "debug", false, "write debug logs to standard error")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	for _, c := range []*cobra.Command{newPull(&s), newResolve(&s), newTree(&s), newIndex(&s), newCopy(&s), newCheck(&s), newPrune(&s), newLogin(&s)} {
		c.PersistentFlags().StringVar(&s.hostsDir, "hosts-dir", config.SystemDir(runtime.GOOS, config.ContainerdCerts), "directory with containerd's hosts.toml files")
		c.PersistentFlags().BoolVar(&s.plainHTTP, "plain-http", false, "use http for registries without a hosts.toml")
		root.AddCommand(c)
	}
	root.AddCommand(newInstall(), newUninstall(), newDoctor(), newLogout(), newGateway(&s), newServe(&s), newConfig(), newExec(&s), newCredentialProvider(), newVersion(), manual.Command(version))
	root.InitDefaultCompletionCmd()
	misuses(root)
	return root
}

// misuses turns errors about the arguments of a command, and of those below it,
// into usage errors: cobra returns plain ones, which would end with the wrong
// exit status.
func misuses(c *cobra.Command) {
	c.Args = misuseOf(c.Args)
	if !c.Runnable() { // cobra would not check its arguments
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, below := range c.Commands() {
		misuses(below)
	}
}

// misuseOf turns errors about arguments into usage errors.
func misuseOf(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage.Errorf("%w; see %s --help", err, cmd.CommandPath())
		}
		return nil
	}
}

// allow raises the number of connections for a user who chooses more concurrent
// requests than the default: they would otherwise wait for each other.
func (s *settings) allow(cmd *cobra.Command, concurrent int) {
	if cmd.Flags().Changed("max-concurrent") {
		s.connections = max(concurrent, auth.DefaultConnections)
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "nestctl "+version)
			return err
		},
	}
}

// resolver returns a resolver that follows child namespaces, with the
// credentials of the user's Docker stores.
func (s *settings) resolver(hostsDir string, store content.Provider, metrics *registry.Metrics) *nested.Resolver {
	return nested.New(s.registries(hostsDir, metrics), nested.Options{Store: store, Complete: true})
}

// registries returns a client with the credentials of the user's Docker stores.
func (s *settings) registries(hostsDir string, metrics *registry.Metrics) *registry.Client {
	return registry.New(s.registryOptions(hostsDir, metrics))
}

func (s *settings) registryOptions(hostsDir string, metrics *registry.Metrics) registry.Options {
	if s.credentials == nil {
		s.credentials = userStores(metrics)
	}
	return registry.Options{
		Credentials: s.credentials,
		HostsDir:    hostsDir,
		PlainHTTP:   s.plainHTTP,
		Connections: s.connections,
		UserAgent:   "nestctl/" + version,
		Metrics:     metrics,
	}
}

// userStores are the user's Docker stores. Helpers may ask for a passphrase
// only when there is a terminal to answer on.
func userStores(metrics *registry.Metrics) *auth.Stores {
	stores := auth.StoresFromEnvironment()
	stores.Interactive = term.IsTerminal(int(os.Stdin.Fd()))
	stores.Metrics = &metrics.Metrics
	return auth.NewStores(stores)
}

// parseRef reads a reference as docker does. A layout parses as a reference,
// too, so that it would fail later with a confusing error.
func parseRef(s string) (auth.Reference, error) {
	ref, _, err := parseWritten(s)
	return ref, err
}

// parseWritten reads a reference, and the tag that is written in it.
func parseWritten(s string) (auth.Reference, string, error) {
	if _, ok := layout.ParsePlace(s); ok {
		return auth.Reference{}, "", usage.Errorf("%s is a layout or an archive, which only nestctl copy reads; name an image in a registry", s)
	}
	ref, tag, err := auth.ParseWritten(s)
	if err != nil {
		return ref, tag, usage.Error{Err: err}
	}
	return ref, tag, nil
}

// readRef reads a reference, or the lock that stands for one.
func readRef(ctx context.Context, s string) (lock.Ref, error) {
	if _, ok := layout.ParsePlace(s); ok {
		return lock.Ref{}, usage.Errorf("%s is a layout or an archive, which only nestctl copy reads; name an image in a registry", s)
	}
	return lock.ReadRef(ctx, s)
}

// oneOf checks the value of a flag.
func oneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return usage.Errorf("--%s %q: must be one of %s", flag, value, strings.Join(allowed, ", "))
}
