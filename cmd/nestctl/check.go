package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/check"
	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/registry"
)

// checkOptions are the flags of check.
type checkOptions struct {
	*settings
	platform string
	members  []string
	strict   bool
	quiet    bool
	format   string
}

// newCheck returns the command. All flags are checked before the first request:
// a mistake in one should not cost a walk through the bundle.
func newCheck(s *settings) *cobra.Command {
	o := checkOptions{settings: s}
	c := &cobra.Command{
		Use:   "check REF",
		Short: "Verify that a bundle is complete and that you may pull it",
		Long: `Reads every index and manifest, requests every other blob with HEAD, and
continues after a failure. Prints for each repository which credential was used
and whether it gives access, for each member where it was found and what is
missing, and then the findings. Warnings are about problems that other clients
or a stricter registry would have. They do not change the exit status. When REF is a
lock, each difference from the lock is a finding.`,
		Example: `  nestctl check registry.example.com/org/app:v1
  nestctl check --member web --format json registry.example.com/org/app:v1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.platform, "platform", "", "only members of this platform, `os/arch[/variant]` (default: all)")
	f.StringArrayVar(&o.members, "member", nil, "only the member at this `path`, such as web or a/b, and those below it (repeatable)")
	f.BoolVar(&o.strict, "strict", false, "also check that the repository of an index has the members' manifests, as some registries require")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show progress")
	commandline.ChoiceVar(f, &o.format, "format", "text", "format of the result", "text", "json")
	return c
}

// run prints the report even when there are findings; only the exit status
// differs.
func (o *checkOptions) run(ctx context.Context, arg string, stdout, stderr io.Writer) (err error) {
	ref, err := readRef(ctx, arg)
	if err != nil {
		return err
	}
	selection, err := selectionFlags(o.platform, o.platform == "", o.members)
	if err != nil {
		return err
	}
	hosts, remove, err := o.hostsAround(ref.Repository().Host())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	show := progress.NewChecks(stderr, o.quiet)
	report, err := check.Bundle(ctx, ref.Reference, check.Options{
		Lock:       ref.Lock,
		Registries: o.registryOptions(hosts, new(registry.Metrics)),
		Selection:  selection,
		Strict:     o.strict,
		Progress:   show,
	})
	show.Stop() // before the report
	if err != nil {
		return err
	}
	if o.format == "json" {
		err = sanitize.WriteJSON(stdout, report)
	} else {
		err = report.Print(stdout)
	}
	return errors.Join(err, report.Err())
}
