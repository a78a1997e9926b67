package manual

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nestedoci/nested/internal/commandline"
)

// page returns the page of a command. Its order of sections is that of
// man-pages(7).
func page(c *cobra.Command, version string, date time.Time) string {
	var r roff
	r.title(name(c), date.Format(time.DateOnly), c.Root().Name()+" "+version)
	r.section("NAME")
	r.text(name(c) + ` \- ` + escape(strings.ToLower(c.Short[:1])+c.Short[1:]))
	r.section("SYNOPSIS")
	r.text(bold(c.CommandPath()) + escape(strings.TrimPrefix(c.UseLine(), c.CommandPath())))
	r.section("DESCRIPTION")
	r.prose(c.Short + ".\n\n" + strings.TrimPrefix(c.Long, c.Short+"."))
	commands(&r, c)
	flags(&r, "OPTIONS", c.NonInheritedFlags())
	flags(&r, "OPTIONS OF OTHER COMMANDS, TOO", c.InheritedFlags())
	if c.HasExample() {
		r.section("EXAMPLES")
		r.code(c.Example)
	}
	seeAlso(&r, c)
	return r.String()
}

// commands lists those below a command, in their groups.
func commands(r *roff, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	r.section("COMMANDS")
	for _, g := range append(c.Groups(), &cobra.Group{Title: "Other commands:"}) {
		begun := len(c.Groups()) == 0 // without groups there are no titles
		for _, below := range c.Commands() {
			if below.GroupID != g.ID || !below.IsAvailableCommand() {
				continue
			}
			if !begun {
				r.subsection(strings.TrimSuffix(g.Title, ":"))
				begun = true
			}
			r.item(bold(name(below))+"(1)", below.Short)
		}
	}
}

func flags(r *roff, section string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	r.section(section)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, meaning := commandline.Describe(f)
		label := bold("--" + f.Name)
		if f.Shorthand != "" {
			label = bold("-"+f.Shorthand) + ", " + label
		}
		if value != "" {
			label += " " + italic(value)
		}
		r.item(label, meaning)
	})
}

// seeAlso names the parent and the commands beside this one.
func seeAlso(r *roff, c *cobra.Command) {
	if !c.HasParent() {
		return
	}
	all := []string{bold(name(c.Parent())) + "(1)"}
	for _, beside := range c.Parent().Commands() {
		if beside != c && beside.IsAvailableCommand() && beside.GroupID == c.GroupID {
			all = append(all, bold(name(beside))+"(1)")
		}
	}
	r.section("SEE ALSO")
	r.text(strings.Join(all, ",\n"))
}
