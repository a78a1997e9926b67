package main

import (
	"cmp"
	"context"
	"os"
	"runtime"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/log"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/completion"
	"github.com/nestedoci/nested/internal/manual"
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
	logFormat string // text, json, or "" for neither
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
		Short:         "Pull, publish and serve nested bundles: image indexes whose members live in child repositories",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			level := "error"
			if s.debug {
				level = "debug"
			}
			return cmp.Or(log.SetLevel(level), log.SetFormat(log.OutputFormat(cmp.Or(s.logFormat, "text"))), system.Check(runtime.GOOS, cmd.Name()))
		},
	}
	root.PersistentFlags().BoolVar(&s.debug, "debug", false, "write debug logs to standard error")
	commandline.ChoiceVar(root.PersistentFlags(), &s.logFormat, "log-format", "", "format of logs (default: text, or what the configuration file says)", "text", "json")
	use := []*cobra.Command{newPull(&s), newTree(&s), newResolve(&s), newCheck(&s), newCopy(&s), newLogin(&s)}
	publish := []*cobra.Command{newIndex(&s), newPrune(&s)}
	for _, c := range slices.Concat(use, publish) {
		c.PersistentFlags().StringVar(&s.hostsDir, "hosts-dir", config.SystemDir(runtime.GOOS, config.ContainerdCerts), "`directory` with containerd's hosts.toml files")
		c.PersistentFlags().BoolVar(&s.plainHTTP, "plain-http", false, "use http for registries without a hosts.toml")
	}
	root.AddCommand(commandline.NewVersion(version), manual.Command(version))
	commandline.Prepare(root,
		commandline.Group{ID: "use", Title: "Use bundles", Commands: append(use, newExec(&s), newLogout())},
		commandline.Group{ID: "publish", Title: "Publish bundles", Commands: publish},
		commandline.Group{ID: "node", Title: "Set up a node", Commands: []*cobra.Command{newInstall(), newUninstall(), newDoctor(), newGateway(&s), newConfig(), newCredentialProvider()}},
		commandline.Group{ID: "serve", Title: "Serve registries", Commands: []*cobra.Command{newServe(&s)}},
	)
	commandline.Complete(root, completion.Connect(func(at auth.Repository) (*registry.Client, func() error, error) {
		s.credentials = auth.NewStores(auth.StoresFromEnvironment()) // helpers must not ask while somebody types
		return s.around(at, new(registry.Metrics))
	}).Words())
	return root
}

// allow raises the number of connections for a user who chooses more concurrent
// requests than the default: they would otherwise wait for each other.
func (s *settings) allow(cmd *cobra.Command, concurrent int) {
	if cmd.Flags().Changed("max-concurrent") {
		s.connections = max(concurrent, auth.DefaultConnections)
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
