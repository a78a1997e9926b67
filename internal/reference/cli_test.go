package reference_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/reference"
)

func program() *cobra.Command {
	run := func(*cobra.Command, []string) error { return nil }
	root := &cobra.Command{Use: "prog"}
	root.PersistentFlags().Bool("debug", false, "write `logs`")
	root.AddGroup(&cobra.Group{ID: "use", Title: "Use:"})
	pull := &cobra.Command{Use: "pull REF", GroupID: "use", Short: "Pull <it> | all", Example: "  prog pull a\n  prog pull b", RunE: run}
	pull.Flags().StringP("to", "t", "here", "`FILE` or *")
	pull.Flags().String("secret", "", "nobody sees this")
	_ = pull.Flags().MarkHidden("secret")
	index := &cobra.Command{Use: "index", Short: "Indexes"}
	index.PersistentFlags().Int("depth", 0, "how deep")
	index.AddCommand(&cobra.Command{Use: "add REF", Short: "Add", Long: "Adds.\n\n    as code <\n\nTo [it].", RunE: run})
	root.AddCommand(pull, index, &cobra.Command{Use: "internal", Hidden: true, RunE: run})
	root.InitDefaultCompletionCmd()
	return root
}

func TestCLI(t *testing.T) {
	page := reference.CLI(program(), "# Head", "## Tail")
	for _, want := range []string{
		"# Head\n\n**Use**\n\n| command | what it does |\n|---|---|\n| [`prog pull`](#prog-pull) | Pull \\<it> \\| all |\n",
		"\n**Other commands**\n\n",
		"\n## Flags of all commands\n\n| flag | meaning |\n|---|---|\n| `--debug logs` | write logs |\n",
		"\n## prog pull\n\nPull \\<it> \\| all.\n\n```\nprog pull REF\n```\n\nExamples:\n\n```\nprog pull a\nprog pull b\n```\n",
		"| `-t, --to FILE` | FILE or \\* (default `here`) |\n",
		"\n## prog index\n\nIndexes.\n\n| flag |",
		"\n### prog index add\n\nAdds.\n\n    as code <\n\nTo \\[it].\n\n```\nprog index add REF\n```\n\n| flag | meaning |\n|---|---|\n| `--depth int` | how deep |\n",
		"```\nprog completion bash|fish|powershell|zsh\n```\n",
		"\n\n## Tail\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	for _, wrong := range []string{"internal", "secret", "--help", "completion bash\n"} {
		if strings.Contains(page, wrong) {
			t.Errorf("%q in\n%s", wrong, page)
		}
	}
}

// TestCompare: a page that differs, or is not there, is an error that says how to write it.
func TestCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	if err := reference.Compare(path, "a", "make docs", false); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if err := reference.Compare(path, "a", "make docs", true); err != nil {
		t.Error(err)
	}
	if err := reference.Compare(path, "a", "make docs", false); err != nil {
		t.Error(err)
	}
	if err := reference.Compare(path, "b", "make docs", false); err == nil || !strings.Contains(err.Error(), "run make docs") {
		t.Errorf("another page: %v", err)
	}
}
