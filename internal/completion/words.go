package completion

import (
	"slices"
	"strings"

	"github.com/containerd/log"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Connect makes a client for the registry of a repository. The function that it
// returns releases the client.
type Connect func(auth.Repository) (*registry.Client, func() error, error)

// platforms are those that images are commonly for.
var platforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/riscv64", "linux/s390x", "windows/amd64"}

// Words are what completes an argument or the value of a flag, by the word for it
// in help.
func (connect Connect) Words() map[string]cobra.CompletionFunc {
	words := map[string]cobra.CompletionFunc{
		"os/arch[/variant]": cobra.FixedCompletions(platforms, cobra.ShellCompDirectiveNoFileComp),
		"target":            cobra.FixedCompletions([]string{"containerd", "oci-layout:", "oci-archive:"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		"directory":         cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
	offer := func(complete cobra.CompletionFunc, names ...string) {
		for _, name := range names {
			words[name] = complete
		}
	}
	offer(cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault), "file", "FILE", "socket", "COMMAND", "ARG", "DIR")
	offer(connect.tags, "REF", "SRC", "DST", "DEST", "SOURCE")
	offer(connect.members, "path", "MEMBER")
	return words
}

// tags offers files where no tag can be: locks, layouts and archives.
func (connect Connect) tags(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	repository, _, ok := Repository(typed)
	if !ok {
		return nil, cobra.ShellCompDirectiveDefault
	}
	client, release := connect.quietly(repository)
	if client == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer release()
	return Tags(cmd.Context(), client, typed), cobra.ShellCompDirectiveNoFileComp
}

// members offers those of the first argument that is a reference.
func (connect Connect) members(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	i := slices.IndexFunc(args, func(arg string) bool { return strings.Contains(arg, "/") })
	if i < 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ref, err := auth.ParseReference(args[i])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	client, release := connect.quietly(ref.Repository())
	if client == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer release()
	return Members(cmd.Context(), nested.New(client, nested.Options{Complete: true}), ref), cobra.ShellCompDirectiveNoFileComp
}

// quietly connects, and keeps libraries from logging while somebody types. The
// client is nil when it fails.
func (connect Connect) quietly(at auth.Repository) (*registry.Client, func()) {
	if log.SetLevel("panic") != nil {
		return nil, nil
	}
	client, release, err := connect(at)
	if err != nil {
		return nil, nil
	}
	return client, func() { _ = release() }
}
