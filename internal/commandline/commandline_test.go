package commandline

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/clienttest"
)

func program() (root, cut *cobra.Command) {
	run := func(*cobra.Command, []string) {}
	root = &cobra.Command{Use: "tool", Short: "Do things", SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs}
	cut = &cobra.Command{Use: "cut [-f FILE]... DEST [NAME=]SOURCE...", Short: "Cut things", Long: strings.Repeat("word ", 30) + "\n\n  as it\n  is", Args: cobra.MinimumNArgs(2), Run: run}
	cut.Flags().Int("keep", 10, "keep this `number` of things")
	cut.Flags().Duration("older", 0, "than this")
	cut.Flags().StringP("to", "t", "", "`target` that "+strings.Repeat("is long ", 12))
	var strategy string
	ChoiceVar(cut.Flags(), &strategy, "strategy", "auto", "how", "auto", "reference", "carrier")
	serve := &cobra.Command{Use: "serve --registry NAME=REGISTRY...", Short: "Serve things", Args: cobra.NoArgs, Run: run}
	Prepare(root, Group{"use", "Use things", []*cobra.Command{cut}}, Group{"serve", "Serve things", []*cobra.Command{serve, NewVersion("v1")}})
	return root, cut
}

// TestErrors: each says what is wrong in the words of who typed it, and where help is.
func TestErrors(t *testing.T) {
	for args, want := range map[string]string{
		"cut":                                 "DEST: missing; usage: tool cut [-f FILE]... DEST [NAME=]SOURCE... [flags]; see tool cut --help",
		"cut a":                               "SOURCE: missing; usage: tool cut [-f FILE]... DEST [NAME=]SOURCE... [flags]; see tool cut --help",
		"ct":                                  `"ct": no such command; did you mean cut?; see tool --help`,
		"s":                                   `"s": no such command; did you mean serve?; see tool --help`,
		"help cut it":                         `"it": no such command; see tool cut --help`,
		"help ct":                             `"ct": no such command; did you mean cut?; see tool --help`,
		"serve a":                             `"a": too many arguments; usage: tool serve --registry NAME=REGISTRY... [flags]; see tool serve --help`,
		"version now":                         `"now": tool version takes no arguments; see tool version --help`,
		"cut --keeep=3 a b":                   "--keeep: no such flag; did you mean --keep?; see tool cut --help",
		"cut --nothing-like-it a b":           "--nothing-like-it: no such flag; see tool cut --help",
		"cut -z a b":                          "-z: no such flag; see tool cut --help",
		"cut a b --to":                        "--to: the value is missing; write --to target; see tool cut --help",
		"cut a b -t":                          "--to: the value is missing; write --to target; see tool cut --help",
		"cut a b --keep many":                 `--keep "many": must be a whole number`,
		"cut a b --keep 99999999999999999999": `--keep "99999999999999999999": is too large`,
		"cut a b --older 7":                   `--older "7": must be a duration, such as 90s, 30m or 720h`,
		"cut a b --help=perhaps":              `--help "perhaps": must be true or false`,
		"cut a b --strategy guess":            `--strategy "guess": must be one of auto, reference, carrier`,
		"cut a b --=x":                        `"--=x": not a flag; see tool cut --help`,
	} {
		root, _ := program()
		root.SetArgs(strings.Fields(args))
		if err := root.Execute(); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", args, err, want)
		}
	}
}

// TestHelpWraps: text is filled to 80 columns where there is no terminal, and what is indented stays.
func TestHelpWraps(t *testing.T) {
	root, cut := program()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs([]string{"help", "cut"})
	clienttest.NoError(t, root.Execute())
	said := out.String()
	for _, want := range []string{
		"Cut things.\n\nword word", "\n\n  as it\n  is\n",
		"      --keep number       keep this number of things (default: 10)\n",
		"  -t, --to target         target that is long",
		"      --strategy auto|reference|carrier\n                          how (default: auto)\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	longest := 0
	for line := range strings.SplitSeq(said, "\n") {
		longest = max(longest, len(line))
	}
	if longest > standardWidth || longest < standardWidth-10 {
		t.Errorf("the longest line has %d columns:\n%s", longest, said)
	}
	if got := fill("one two three", "    ", 12); got != "one two\n    three" {
		t.Errorf("%q", got)
	}
	if value, meaning := Describe(cut.Flag("older")); value != "duration" || meaning != "than this" {
		t.Errorf("%q, %q", value, meaning)
	}
}

// TestVersion: what Go noted in the program is told, and what it did not note is left out.
func TestVersion(t *testing.T) {
	root, _ := program()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs([]string{"version", "--format", "json"})
	clienttest.NoError(t, root.Execute())
	var told map[string]string
	clienttest.NoError(t, json.Unmarshal(out.Bytes(), &told))
	if told["version"] != "v1" || !strings.HasPrefix(told["go"], "go1.") || !strings.Contains(told["platform"], "/") {
		t.Errorf("got %v", told)
	}
	got := builtFrom("v1", &debug.BuildInfo{
		Deps:     []*debug.Module{{Path: "github.com/containerd/containerd/v2", Version: "v2.4.2"}},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-30T21:00:00Z"}, {Key: "vcs.modified", Value: "true"}},
	})
	if got.Commit != "abc-dirty" || got.Date != "2026-11-30T21:00:00Z" || got.Containerd != "v2.4.2" {
		t.Errorf("got %+v", got)
	}
}
