// Package commandline makes of cobra's commands a command line as people expect
// it.
//
// Read the files in this order:
//
//   - commandline.go: [Prepare] sorts commands into groups, and sets the rest up;
//   - help.go: what --help prints, as wide as the terminal (fill.go);
//   - choice.go: flags of which the value is one of a few words ([ChoiceVar]);
//   - complete.go: what shells offer for arguments and flags ([Complete]);
//   - version.go: which build it is ([NewVersion]);
//   - misuse.go: what was wrong with arguments and flags, in the words of those
//     who typed them; plain.go: errors of networks in plain words ([Plain]).
//
// It knows commands and flags, and nothing of what they do.
package commandline

import (
	"strings"

	"github.com/spf13/cobra"
)

// Group are the commands under one title of the help.
type Group struct {
	ID, Title string
	Commands  []*cobra.Command
}

// Prepare adds the commands to the root, and those for help and completion. Of
// each command the long text begins with the short one. Errors about arguments and
// flags are usage.Error, and say what is wrong and where help is.
func Prepare(root *cobra.Command, groups ...Group) {
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.ID, Title: g.Title + ":"})
		for _, c := range g.Commands {
			c.GroupID = g.ID
			root.AddCommand(c)
		}
	}
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { help(c) })
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		for _, c := range append(completion.Commands(), completion) {
			_, c.Long, _ = strings.Cut(c.Long, "\n") // the first line is the short text again
		}
	}
	prepare(root)
}

// prepare completes a command and those below it.
func prepare(c *cobra.Command) {
	c.Long = strings.TrimSpace(c.Short + ".\n\n" + strings.Trim(c.Long, "\n"))
	c.Args = arguments(c.Args)
	c.Flags().BoolP("help", "h", false, "show this help")
	if !c.Runnable() { // cobra would not check its arguments
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, below := range c.Commands() {
		prepare(below)
	}
}
