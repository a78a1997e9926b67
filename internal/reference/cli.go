package reference

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// CLI returns a Markdown page with all commands of a program that are not
// hidden: usage, flags and examples, as --help prints them. It begins with head
// and ends with tail, which are Markdown.
func CLI(root *cobra.Command, head, tail string) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(head) + "\n")
	for _, g := range groups(root) {
		b.WriteString("\n" + g.title + "| command | what it does |\n|---|---|\n")
		for _, c := range g.commands {
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.CommandPath(), anchor(c), cell(c.Short))
		}
	}
	b.WriteString("\n## Flags of all commands\n\n" + flagTable(root.PersistentFlags()))
	for _, g := range groups(root) {
		for _, c := range g.commands {
			describe(&b, c)
		}
	}
	return b.String() + "\n" + strings.TrimSpace(tail) + "\n"
}

// group is what stands under one title in the help of the root.
type group struct {
	title    string
	commands []*cobra.Command
}

// groups sorts the commands below the root: those without a group come last, as
// in cobra's help.
func groups(root *cobra.Command) []group {
	var all []group
	named := func(id, title string) {
		g := group{title: title}
		for _, c := range root.Commands() {
			if c.GroupID == id && c.IsAvailableCommand() {
				g.commands = append(g.commands, c)
			}
		}
		if len(g.commands) > 0 {
			all = append(all, g)
		}
	}
	for _, g := range root.Groups() {
		named(g.ID, "**"+strings.TrimSuffix(g.Title, ":")+"**\n\n")
	}
	if len(root.Groups()) == 0 {
		named("", "")
	} else {
		named("", "**Other commands**\n\n")
	}
	return all
}

// describe writes a command and those below it.
func describe(b *strings.Builder, c *cobra.Command) {
	level := strings.Repeat("#", 1+strings.Count(c.CommandPath(), " "))
	fmt.Fprintf(b, "\n%s %s\n\n%s\n", level, c.CommandPath(), prose(cmp.Or(c.Long, c.Short+".")))
	if usage := usageOf(c); usage != "" {
		b.WriteString("\n" + code(usage))
	}
	if c.HasExample() {
		b.WriteString("\nExamples:\n\n" + code(unindented(c.Example)))
	}
	if own := flagsOf(c); own.HasAvailableFlags() {
		b.WriteString("\n" + flagTable(own))
	}
	if c.Name() == completion {
		return
	}
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			describe(b, below)
		}
	}
}

// completion is cobra's own command. It has a command for each shell, with a
// long text that is cobra's.
const completion = "completion"

// usageOf is the line that says how to call a command; empty for one that only
// has others below it.
func usageOf(c *cobra.Command) string {
	if c.Name() == completion {
		var shells []string
		for _, shell := range c.Commands() {
			shells = append(shells, shell.Name())
		}
		return c.CommandPath() + " " + strings.Join(shells, "|")
	}
	if c.HasAvailableSubCommands() {
		return ""
	}
	return strings.TrimSuffix(c.UseLine(), " [flags]")
}

// flagsOf are the flags that a command takes, without those of all commands.
func flagsOf(c *cobra.Command) *pflag.FlagSet {
	own := pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	add := func(f *pflag.Flag) {
		if f.Name != "help" && c.Root().PersistentFlags().Lookup(f.Name) == nil {
			own.AddFlag(f)
		}
	}
	c.InheritedFlags() // merges the parents' flags into the command's
	c.Flags().VisitAll(add)
	return own
}

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("| flag | meaning |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, meaning := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			name += " " + strings.ReplaceAll(value, "|", `\|`) // in code, too, it would end the cell
		}
		meaning = cell(meaning)
		if !slices.Contains([]string{"", "0", "0s", "[]", "false"}, f.DefValue) {
			meaning += " (default `" + f.DefValue + "`)"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, meaning)
	})
	return b.String()
}

// anchor is what GitHub makes of the heading of a command.
func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func code(text string) string { return "```\n" + strings.TrimRight(text, "\n") + "\n```\n" }

func unindented(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

var markdown = strings.NewReplacer(`\`, `\\`, "*", `\*`, "<", `\<`, "[", `\[`, "|", `\|`)

// prose writes a help text as Markdown. Its indented lines are code.
func prose(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "\t"), strings.HasPrefix(line, "    "):
			lines[i] = "    " + strings.TrimLeft(line, "\t ")
		default:
			lines[i] = markdown.Replace(strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// cell writes a text into a cell of a table.
func cell(text string) string { return markdown.Replace(strings.Join(strings.Fields(text), " ")) }
