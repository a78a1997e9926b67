package commandline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what --format json prints. Names of fields are an interface.
type build struct {
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"` // with "-dirty" when files were changed
	Date       string `json:"date,omitempty"`   // of the commit, RFC 3339
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	Containerd string `json:"containerd,omitempty"` // version of its module
}

// NewVersion returns the command that prints the version of a program, and with
// --format json of what it was built from.
func NewVersion(version string) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  nestctl version --format json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format == "text" {
				_, err := fmt.Fprintln(c.OutOrStdout(), c.Root().Name()+" "+version)
				return err
			}
			info, _ := debug.ReadBuildInfo()
			out := json.NewEncoder(c.OutOrStdout())
			out.SetIndent("", "  ")
			return out.Encode(builtFrom(version, info))
		},
	}
	ChoiceVar(c.Flags(), &format, "format", "text", "how to print it", "text", "json")
	return c
}

// builtFrom reads what Go noted in the program. Built outside a repository it has
// no commit.
func builtFrom(version string, info *debug.BuildInfo) build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		return b
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/containerd/containerd/v2" {
			b.Containerd = cmp.Or(module.Replace, module).Version
		}
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	b.Commit, b.Date = settings["vcs.revision"], settings["vcs.time"]
	if settings["vcs.modified"] == "true" {
		b.Commit += "-dirty"
	}
	return b
}
