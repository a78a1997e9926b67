package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle/prune"
	"github.com/nestedoci/nested/remotes/registry"
)

// pruneOptions are the flags of prune.
type pruneOptions struct {
	*settings
	prune.Options
	format string
	dryRun bool
}

func newPrune(s *settings) *cobra.Command {
	o := pruneOptions{settings: s, Options: prune.Options{Now: time.Now()}}
	c := &cobra.Command{
		Use:   "prune PARENT",
		Short: "Delete old releases, and members that no release refers to any more",
		Long: `PARENT is a repository, registry/org/app. Its releases are the nested indexes with
tags. The newest are kept: by when they were made (annotation
org.opencontainers.image.created, else "created" of their images), or by versions in
their tags. Where that does not decide, nothing is deleted. Members that no
remaining tag refers to are deleted too. Prints what would be deleted;
--dry-run=false deletes it.`,
		Example: "  nestctl prune registry.example.com/org/app --older 720h --keep-tag 'lts-*' --dry-run=false",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("older") && !cmd.Flags().Changed("keep") {
				o.Keep = 0
			}
			return o.run(cmd, args[0])
		},
	}
	f := c.Flags()
	f.IntVar(&o.Keep, "keep", 10, "keep this `number` of releases, the newest ones")
	f.DurationVar(&o.Older, "older", 0, "delete releases that are older than this `duration`, such as 720h (instead of --keep)")
	f.StringArrayVar(&o.KeepTags, "keep-tag", nil, "keep releases with a tag that matches this `pattern` with * and ?, and do not count them (repeatable)")
	f.BoolVar(&o.dryRun, "dry-run", true, "print what would be deleted, and delete nothing")
	commandline.ChoiceVar(f, &o.format, "format", "text", "format of the result", "text", "json")
	return c
}

func (o *pruneOptions) run(cmd *cobra.Command, arg string) (err error) {
	ref, tag, err := parseWritten(arg)
	switch {
	case err != nil:
		return err
	case tag != "" || ref.Digest() != "":
		return usage.Errorf("%s: must be a repository, without tag and digest", arg)
	}
	if err = o.Check(); err != nil {
		return err
	}
	client, closeAll, err := o.around(ref.Repository(), new(registry.Metrics))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	plan, err := prune.New(cmd.Context(), client, ref.Repository(), o.Options)
	if err != nil {
		return err
	}
	if o.format == "json" {
		err = plan.Follow(cmd.Context(), o.dryRun, func(string) error { return nil })
		return errors.Join(sanitize.WriteJSON(cmd.OutOrStdout(), plan), err) // of what was done before an error, too
	}
	return plan.Follow(cmd.Context(), o.dryRun, linesTo(cmd.OutOrStdout()))
}

func linesTo(out io.Writer) func(string) error {
	return func(line string) error {
		_, err := fmt.Fprintln(out, sanitize.Text(line))
		return err
	}
}
