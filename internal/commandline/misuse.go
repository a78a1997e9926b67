package commandline

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nestedoci/nested/internal/usage"
)

// arguments says in our words what is wrong with arguments that a check refuses,
// and where help is.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil {
			return nil
		}
		if _, ours := errors.AsType[usage.Error](err); !ours {
			err = misused(c, args)
		}
		return usage.Errorf("%w; see %s --help", err, c.CommandPath())
	}
}

// misused is about arguments that a command does not take: there are too few, or
// too many, or there is no such command.
func misused(c *cobra.Command, args []string) error {
	names := required(c)
	switch {
	case len(args) < len(names):
		return usage.Errorf("%s: missing; usage: %s", names[len(args)], c.UseLine())
	case c.HasAvailableSubCommands():
		return noCommand(c, args[0])
	case len(names) == 0 && !strings.Contains(c.Use, " "):
		return usage.Errorf("%.64q: %s takes no arguments", args[0], c.CommandPath())
	}
	return usage.Errorf("%.64q: too many arguments; usage: %s", args[len(args)-1], c.UseLine())
}

func noCommand(c *cobra.Command, typed string) error {
	return usage.Errorf("%.64q: no such command%s", typed, didYouMean("", similar(typed, commandNames(c))))
}

// optional are the parts of a usage line that may be left out.
var optional = regexp.MustCompile(`\[[^\]]*\](\.\.\.)?`)

// required are the names of the arguments in the usage line that must be there.
func required(c *cobra.Command) (names []string) {
	for i, word := range strings.Fields(optional.ReplaceAllString(c.Use, "")) {
		switch {
		case i == 0, word == "--":
		case strings.HasPrefix(word, "--"): // flags and their values stand in front of arguments
			return nil
		default:
			names = append(names, strings.TrimSuffix(word, "..."))
		}
	}
	return names
}

func commandNames(c *cobra.Command) (names []string) {
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			names = append(names, below.Name())
		}
	}
	return names
}

// flagError says in our words what is wrong with a flag.
func flagError(c *cobra.Command, err error) error {
	see := "; see " + c.CommandPath() + " --help"
	var absent *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	var malformed *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &absent) && absent.GetSpecifiedShortnames() != "":
		return usage.Errorf("-%s: no such flag%s", absent.GetSpecifiedName(), see)
	case errors.As(err, &absent):
		return usage.Errorf("--%.64s: no such flag%s%s", absent.GetSpecifiedName(), didYouMean("--", similar(absent.GetSpecifiedName(), flagNames(c))), see)
	case errors.As(err, &bare):
		value, _ := pflag.UnquoteUsage(bare.GetFlag())
		return usage.Errorf("--%s: the value is missing; write --%[1]s %s%s", bare.GetFlag().Name, value, see)
	case errors.As(err, &invalid):
		return usage.Errorf("--%s %.64q: %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid))
	case errors.As(err, &malformed):
		return usage.Errorf("%.64q: not a flag%s", malformed.GetSpecifiedFlag(), see)
	}
	return usage.Errorf("%w%s", err, see)
}

// wanted is what the value of a flag must be. Values of pflag say it in the words
// of Go's parsers, and ours in their own.
func wanted(err *pflag.InvalidValueError) string {
	switch err.GetFlag().Value.Type() {
	case "int", "int64", "uint", "uint64":
		if errors.Is(err, strconv.ErrRange) {
			return "is too large"
		}
		return "must be a whole number"
	case "duration":
		return "must be a duration, such as 90s, 30m or 720h"
	case "bool":
		return "must be true or false"
	}
	return err.Unwrap().Error()
}

func flagNames(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// similar are the names that somebody may have meant, by cobra's measure, which
// knows commands only.
func similar(typed string, names []string) []string {
	c := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range names {
		c.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	return c.SuggestionsFor(typed)
}

func didYouMean(dashes string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	for i := range names {
		names[i] = dashes + names[i]
	}
	return fmt.Sprintf("; did you mean %s?", strings.Join(names, " or "))
}
