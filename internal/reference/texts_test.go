package reference_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/reference"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTexts: which texts of code are errors, with what is not text in them as ….
func TestTexts(t *testing.T) {
	dir := write(t, "a.go", "package a\n"+`
import "strings; "

type t struct { f string `+"`json:\"a; b and so on\"`"+` }

func a() {
	flags.StringVar(&s, "flag", "", "a file; repeatable")
	c := &cobra.Command{Short: "Do it; now", RunE: func() error { return errors.New("within: a command") }}
	_ = fmt.Errorf("%s: %.64q is 100%% wrong: %w; "+"mend "+x()+" it", a, b, err)
	_ = errors.New("plain: cause")
	_ = fmt.Errorf("%w; try %[2]s again", err)
	_ = fmt.Errorf("%s: %w", a, err)
	_ = auth.Classed(errClass, "classed %d", a)
	_ = usage.Optionf("option", "%q: is none", a)
	return "a step; in another place"
	log("of several lines;\n or words")
	_ = refusal{Message: "refused", Code: "NO_ERROR"}
}

func (e *e) Error() string { return "typed: " + e.x }
`)
	all, err := reference.Texts(dir, []string{dir}, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, text := range all {
		got = append(got, text.Says+" | "+text.Key())
	}
	want := []string{
		"within: a command | within: a command",
		"…: … is 100% wrong: …; mend … it | … is 100% wrong: …",
		"plain: cause | plain: cause",
		"…; try … again | try … again",
		"classed … | classed …",
		"…: is none | is none",
		"a step; in another place | a step",
		"refused | refused",
		"typed: … | typed: …",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if all[1].At != "a.go:10" || !all[1].Next || all[2].Next {
		t.Errorf("%+v", all)
	}
}

// TestProblems: the parts of problems come from variables of their function, constants and functions.
func TestProblems(t *testing.T) {
	dir := write(t, "a.go", `package a

const always = "write it"

func (d *doctor) again() string {
	if d.x {
		return "other"
	}
	return "run " + d.command() + " again"
}

func a() []Problem {
	what := fmt.Sprintf("%s has a %s", path, "fault")
	d.note(what, always)
	what = "no " + what
	one := Problem{what + " there", d.again()}
	return []Problem{{path + ": gone", "bring " + x + " back"}, {err.Error(), "skipped"}}
}

func b(what string) { d.note(what, always) }
`)
	got, err := reference.Problems(dir, []string{"note"}, map[string]string{"command": "prog"})
	want := []reference.Problem{{"… has a fault", "write it"}, {"no … has a fault there", "run prog again"}, {"…: gone", "bring … back"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, got %q\nwant %q", err, got, want)
	}
	if _, err := reference.Problems(t.TempDir(), nil, nil); err == nil {
		t.Error("no problems at all")
	}
}

// TestPage: the first column of tables, and what stands between comments.
func TestPage(t *testing.T) {
	got := reference.FirstColumn("| what | why |\n|---|---|\n| `a \\| b` and `c` | `d` |\n| plain | `e` |\nno `row` | at all |\n")
	if !slices.Equal(got, []string{"a | b", "c"}) {
		t.Errorf("%q", got)
	}
	page, err := reference.Between("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n", "x", "new\n")
	if err != nil || page != "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n" {
		t.Errorf("%v %q", err, page)
	}
	if _, err := reference.Between("a", "x", "b"); err == nil {
		t.Error("no comments")
	}
	if _, err := reference.ErrorList("", nil, []reference.Text{{Says: "a text", At: "x/y.go:1"}}); err == nil {
		t.Error("a text without a topic")
	}
}
