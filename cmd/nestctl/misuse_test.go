package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// raw are the words of cobra, of pflag and of Go's parsers.
var raw = regexp.MustCompile(`accepts|arg\(s\)|unknown|flag needs|invalid argument|bad flag|required flag|strconv|parsing|time: |syntax|%!`)

// TestMisuse calls each command in all wrong ways that it knows of before it does anything: none is answered in the
// words of a library.
func TestMisuse(t *testing.T) {
	asked := 0
	everyCommand(newRoot(), func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())[1:]
		for _, wrong := range misuses(c) {
			asked++
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), slices.Concat(path, wrong), &stdout, &stderr)
			said := stderr.String()
			if status != misuse || stdout.Len() > 0 || strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "nestctl: ") {
				t.Errorf("%s %q: exit status %d, %q, %q", c.CommandPath(), wrong, status, &stdout, said)
			}
			if word := raw.FindString(said); word != "" {
				t.Errorf("%s %q: %q in %s", c.CommandPath(), wrong, word, said)
			}
			if !regexp.MustCompile(`; see nestctl.* --help\n$|: must be .+\n$|: is too large\n$`).MatchString(said) {
				t.Errorf("%s %q: no way out in %s", c.CommandPath(), wrong, said)
			}
		}
	})
	if asked < 500 {
		t.Errorf("only %d commands were tried", asked)
	}
}

func everyCommand(c *cobra.Command, visit func(*cobra.Command)) {
	if !c.Hidden {
		visit(c)
	}
	for _, below := range c.Commands() {
		everyCommand(below, visit)
	}
}

// misuses are wrong arguments and flags of a command.
func misuses(c *cobra.Command) [][]string {
	all := [][]string{{"--nonsense"}, {"--nonsense=x"}, {"-Z"}, {"-hZ"}, {"--=x"}, {"---"}, {"--help=perhaps"}}
	add := func(f *pflag.Flag) {
		name := "--" + f.Name
		all = append(all, []string{name + "x"})
		switch f.Value.Type() {
		case "bool":
			all = append(all, []string{name + "=perhaps"})
			return
		case "int":
			all = append(all, []string{name, "x"}, []string{name, "1.5"}, []string{name, "99999999999999999999"})
		case "duration":
			all = append(all, []string{name, "x"}, []string{name, "7"})
		case "string", "stringArray":
		default: // a choice
			all = append(all, []string{name, "nonsense"}, []string{name, ""})
		}
		all = append(all, []string{name})
	}
	c.InheritedFlags() // merges them into the flags
	c.Flags().VisitAll(add)
	for _, args := range [][]string{{}, {"a"}, {"a", "b"}, {"a", "b", "c"}} {
		if c.Args(c, args) != nil {
			all = append(all, args)
		}
	}
	return all
}

// TestHelp: each command says what it does, beginning with a verb, shows an example, and calls values by words.
func TestHelp(t *testing.T) {
	verbs := strings.Fields("Add Copy Delete Find Generate Give Make Print Pull Remove Report Restore Run Save Serve Show Undo Verify")
	everyCommand(newRoot(), func(c *cobra.Command) {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append(strings.Fields(c.CommandPath())[1:], "--help"), &stdout, &stderr); status != 0 || stderr.Len() > 0 {
			t.Errorf("%s: exit status %d, %q", c.CommandPath(), status, &stderr)
		}
		said := stdout.String()
		if verb, _, _ := strings.Cut(said, " "); !slices.Contains(verbs, strings.TrimSuffix(verb, ",")) {
			t.Errorf("%s begins with %q", c.CommandPath(), verb)
		}
		if !strings.Contains(said, "\nExamples:\n  ") && !strings.Contains(c.CommandPath(), "completion") && c.HasParent() {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if word := regexp.MustCompile(`--\S+ (string|strings|stringArray|int|bool|value)\b`).FindString(said); word != "" {
			t.Errorf("%s: %s", c.CommandPath(), word)
		}
		for line := range strings.SplitSeq(said, "\n") {
			if len(line) > 80 && !strings.HasPrefix(line, "  nestctl ") && !strings.HasPrefix(line, "\t") {
				t.Errorf("%s: wider than 80: %s", c.CommandPath(), line)
			}
		}
	})
}
