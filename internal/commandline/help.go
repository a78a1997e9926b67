package commandline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nestedoci/nested/internal/usage"
)

// newHelp returns the command help. Cobra's own ends with 0 when there is no
// such command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]...",
		Short:   "Show the help of a command",
		Example: "  nestctl help index create",
		Args:    cobra.ArbitraryArgs,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
			about, _, _ := c.Root().Find(args)
			for _, below := range about.Commands() {
				if below.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(below.Name(), below.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage.Errorf("%w; see %s --help", noCommand(about, rest[0]), about.CommandPath())
			}
			about.SetOut(c.OutOrStdout())
			return about.Help()
		},
	}
}

// help prints all about a command to standard output.
func help(c *cobra.Command) {
	out := c.OutOrStdout()
	columns := width(out)
	var b strings.Builder
	b.WriteString(wrap(c.Long, columns) + "\n")
	b.WriteString("\nUsage:\n")
	if c.HasAvailableSubCommands() {
		b.WriteString("  " + c.CommandPath() + " COMMAND\n")
	} else {
		b.WriteString("  " + fill(c.UseLine(), "      ", columns) + "\n")
	}
	if c.HasExample() {
		b.WriteString("\nExamples:\n" + strings.Trim(c.Example, "\n") + "\n")
	}
	commands(&b, c, columns)
	flags(&b, "Flags", c.LocalFlags(), columns)
	flags(&b, "Common flags", c.InheritedFlags(), columns)
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help shows more about a command.\n", c.CommandPath())
	}
	fmt.Fprint(out, b.String())
}

// commands lists those below a command, in their groups.
func commands(b *strings.Builder, c *cobra.Command, columns int) {
	rest := &cobra.Group{Title: "Other commands:"}
	if len(c.Groups()) == 0 {
		rest.Title = "Commands:"
	}
	for _, g := range append(c.Groups(), rest) {
		title := "\n" + g.Title + "\n"
		for _, below := range c.Commands() {
			if below.GroupID != g.ID || !below.IsAvailableCommand() && below.Name() != "help" {
				continue
			}
			column := strings.Repeat(" ", 2+below.NamePadding()+2)
			fmt.Fprintf(b, "%s  %-*s  %s\n", title, below.NamePadding(), below.Name(), fill(below.Short, column, columns))
			title = ""
		}
	}
}

// meaningColumn is where the meanings of flags begin. A flag that reaches further
// has its meaning below it.
const meaningColumn = 26

func flags(b *strings.Builder, title string, set *pflag.FlagSet, columns int) {
	if !set.HasAvailableFlags() {
		return
	}
	b.WriteString("\n" + title + ":\n")
	column := strings.Repeat(" ", meaningColumn)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		left := "      --" + f.Name
		if f.Shorthand != "" {
			left = "  -" + f.Shorthand + ", --" + f.Name
		}
		value, meaning := Describe(f)
		if left = strings.TrimRight(left+" "+value, " "); len(left) > meaningColumn-2 {
			left += "\n" + column
		}
		fmt.Fprintf(b, "%-*s%s\n", meaningColumn, left, fill(meaning, column, columns))
	})
}

// Describe returns the word for a flag's value, "" when it has none, and what the
// flag means, with its default.
func Describe(f *pflag.Flag) (value, meaning string) {
	value, meaning = pflag.UnquoteUsage(f)
	if meaning = strings.Join(strings.Fields(meaning), " "); !slices.Contains([]string{"", "0", "0s", "[]", "false"}, f.DefValue) {
		meaning += " (default: " + f.DefValue + ")"
	}
	return value, meaning
}
