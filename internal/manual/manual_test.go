package manual

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/clienttest"
)

func program() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Short: "Do things"}
	root.AddGroup(&cobra.Group{ID: "use", Title: "Use things:"})
	root.PersistentFlags().Bool("debug", false, "say more")
	c := &cobra.Command{
		Use: "cut THING", GroupID: "use", Short: "Cut a thing", Run: run,
		Long:    "It is cut.\n.dot and 'quote' and back\\slash\n\n\ttab --code\n\n  spaces",
		Example: "  tool cut --keep 3 'a~b'",
	}
	c.Flags().IntP("keep", "k", 10, "keep this `number`\nof things")
	c.Flags().String("secret", "", "not told")
	_ = c.Flags().MarkHidden("secret")
	below := &cobra.Command{Use: "half THING", Short: "Cut it in halves", Run: run}
	c.AddCommand(below)
	root.AddCommand(c, &cobra.Command{Use: "unseen", Hidden: true, Short: "Hide", Run: run}, Command("v1"))
	return root
}

// TestPage: all that --help says is on the page, and roff takes none of it for its own.
func TestPage(t *testing.T) {
	c, _, err := program().Find([]string{"cut"})
	clienttest.NoError(t, err)
	got := page(c, "v1", time.Unix(0, 0).UTC())
	for _, want := range []string{
		`.TH "TOOL\-CUT" 1 "1970\-01\-01" "tool v1" "User Commands"`,
		`tool-cut \- cut a thing`,
		`\fBtool cut\fR THING [flags]`,
		".PP\nCut a thing.\n.PP\nIt is cut.\n" + `\&.dot and \(aqquote\(aq and back\eslash`,
		".nf\n" + `tab \-\-code` + "\n.fi",
		".nf\nspaces\n.fi",
		`\fB\-k\fR, \fB\-\-keep\fR \fInumber\fR` + "\nkeep this number of things (default: 10)",
		"OPTIONS OF OTHER COMMANDS, TOO\"\n.TP\n" + `\fB\-\-debug\fR` + "\nsay more\n",
		`tool cut \-\-keep 3 \(aqa\(tib\(aq`,
		`\fBtool\-cut\-half\fR(1)` + "\nCut it in halves",
		".SH \"SEE ALSO\"\n" + `\fBtool\fR(1)`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	macros := strings.Fields(".TH .SH .SS .PP .TP .RS .RE .nf .fi .nh .ad")
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, ".") && !slices.Contains(macros, strings.Fields(line)[0]) || strings.HasPrefix(line, "'") {
			t.Errorf("roff would read a request in %q", line)
		}
	}
	if strings.Contains(got, "not told") {
		t.Error("a hidden flag is told")
	}
}

// TestWrite: a page for each command that users may call, the same bytes each time, of the date that is asked for.
func TestWrite(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1800000000")
	var before map[string]string
	for range 2 {
		dir := filepath.Join(t.TempDir(), "man1")
		root := program()
		root.SetArgs([]string{"manual", dir})
		clienttest.NoError(t, root.Execute())
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		clienttest.NoError(t, err)
		written := map[string]string{}
		for _, file := range files {
			text, err := os.ReadFile(file)
			clienttest.NoError(t, err)
			written[filepath.Base(file)] = string(text)
			if before != nil && before[filepath.Base(file)] != string(text) {
				t.Errorf("%s differs from the one before", file)
			}
		}
		if len(written) < 3 || !strings.Contains(written["tool.1"], ".SS \"Use things\"") || !strings.Contains(written["tool-cut-half.1"], `2027\-01\-15`) || written["tool-unseen.1"]+written["tool-manual.1"] != "" {
			t.Errorf("wrote %q", written)
		}
		before = written
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := sourceDate(); err == nil || err.Error() != `SOURCE_DATE_EPOCH "yesterday": must be seconds since 1970` {
		t.Error(err)
	}
}
