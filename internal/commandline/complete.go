package commandline

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Complete lets shells complete the arguments and flags of a command and of those
// below it. words has what completes an argument or a value by the word for it in
// help, such as REF or file. Where a word is a choice, as in text|json, its parts
// are offered, and for other words nothing.
func Complete(c *cobra.Command, words map[string]cobra.CompletionFunc) {
	if names := positional(c); len(names) > 0 && c.ValidArgsFunction == nil {
		c.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) >= len(names) && !strings.Contains(c.Use, "...") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completion(words, names[min(len(args), len(names)-1)])(c, args, typed)
		}
	} else if c.ValidArgsFunction == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if value, _ := Describe(f); value != "" {
			_ = c.RegisterFlagCompletionFunc(f.Name, completion(words, value)) // of those that have one, that one stays
		}
	})
	for _, below := range c.Commands() {
		Complete(below, words)
	}
}

func completion(words map[string]cobra.CompletionFunc, word string) cobra.CompletionFunc {
	if complete, ok := words[word]; ok {
		return complete
	}
	if choices := strings.Split(word, "|"); len(choices) > 1 {
		return cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp)
	}
	return cobra.NoFileCompletions
}

var (
	optionalFlags = regexp.MustCompile(`\[-[^\]]*\](\.\.\.)?`)
	decoration    = strings.NewReplacer("[NAME=]", "", "[", "", "]", "", "...", "")
)

// positional are the names of the arguments in the usage line.
func positional(c *cobra.Command) []string {
	names := strings.Fields(decoration.Replace(optionalFlags.ReplaceAllString(c.Use, "")))[1:]
	if i := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, "--") && name != "--" }); i >= 0 {
		names = names[:i] // flags and their values
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "--" })
}
