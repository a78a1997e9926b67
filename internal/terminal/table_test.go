package terminal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/registrytest"
)

func print(t *testing.T, table Table, s Screen) string {
	t.Helper()
	var b bytes.Buffer
	if err := table.Print(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestTable: columns are aligned by what a terminal shows, however many bytes or characters that is.
func TestTable(t *testing.T) {
	table := Table{
		Cells("name", "", "platform", "size"),
		{{Text: "漢字"}, {}, {Text: "linux/amd64"}, {Text: "1 B", Right: true}},
		{{Text: "e\u0301te\u0301"}, {}, {}, {Text: "12.3 MiB", Right: true}},
		{{Text: "👩‍👩‍👧"}, {}, {Text: "x"}},
		Cells("only"),
	}
	want := "" +
		"name                platform     size\n" +
		"漢字                linux/amd64       1 B\n" +
		"e\u0301te\u0301                              12.3 MiB\n" +
		"👩\\u200d👩\\u200d👧  x\n" +
		"only\n"
	if got := print(t, table, Screen{}); got != want {
		t.Errorf("printed\n%swant\n%s", got, want)
	}
}

// TestTableNarrow: digests are cut where a terminal is too narrow, and nowhere else.
func TestTableNarrow(t *testing.T) {
	d := digest.FromString("x")
	short := d.String()[:len("sha256:")+12] + "…"
	table := Table{Cells("reg.example.com/org/app@"+d.String(), "index"), Cells("other "+d.Encoded(), "-")}
	whole := print(t, table, Screen{})
	for width, want := range map[int]string{
		0:   whole,
		200: whole,
		100: "reg.example.com/org/app@" + short + strings.Repeat(" ", 70-44) + "  index\nother " + d.Encoded() + "  -\n",
		20:  "reg.example.com/org/app@" + short + strings.Repeat(" ", 70-44) + "  index\nother " + d.Encoded() + "  -\n",
	} {
		if got := print(t, table, Screen{Width: width}); got != want {
			t.Errorf("in %d cells\n%swant\n%s", width, got, want)
		}
	}
}

// TestTableOfForeignText: a stranger's text neither writes sequences, nor ends a cell, nor fills every row with spaces.
func TestTableOfForeignText(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	table := Table{{{Text: registrytest.ForeignText + "\t\n\x1b[0m", Style: Bad}, {Text: "b"}}, {{Text: long}, {Text: "b"}}, Cells("a", "b")}
	for _, s := range []Screen{{}, {Width: 80, Colour: true}} {
		got := print(t, table, s)
		plain := strings.NewReplacer(sequences[Bad].begin, "", sequences[Bad].end, "").Replace(got)
		if strings.Count(got, "\n") != 3 || strings.ContainsAny(plain, "\x1b\t\r\a") || len(got) > 4096 {
			t.Errorf("%+v: %d bytes, %.300q", s, len(got), got)
		}
		if s.Colour != (plain != got) {
			t.Errorf("%+v: %.100q", s, got)
		}
	}
}

// TestColourOfDigests: digests are faint in any colour, and the colour goes on after them; strong text is strong to its end.
func TestColourOfDigests(t *testing.T) {
	d := digest.FromString("x").String()
	got := print(t, Table{{{Text: "a@" + d + " b", Style: Good}}}, Screen{Colour: true})
	if want := "\x1b[32ma@\x1b[2m" + d + "\x1b[22m b\x1b[39m\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	got = print(t, Table{Result("a@" + d + " b")}, Screen{Colour: true})
	if want := "\x1b[1ma@" + d + " b\x1b[22m\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestColours: the conventions for programs that have colours.
func TestColours(t *testing.T) {
	for _, test := range []struct {
		env       map[string]string
		obeys     bool
		wantPipe  bool
		wantThere bool
	}{
		{nil, true, false, true},
		{nil, false, false, false},
		{map[string]string{"TERM": "xterm-256color"}, true, false, true},
		{map[string]string{"TERM": "dumb"}, true, false, false},
		{map[string]string{"TERM": "dumb", "CLICOLOR_FORCE": "1"}, true, false, false},
		{map[string]string{"NO_COLOR": "1"}, true, false, false},
		{map[string]string{"NO_COLOR": ""}, true, false, true},
		{map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, true, false, false},
		{map[string]string{"CLICOLOR_FORCE": "1"}, true, true, true},
		{map[string]string{"CLICOLOR_FORCE": "0"}, true, false, true},
		{map[string]string{"CLICOLOR_FORCE": ""}, true, false, true},
	} {
		env := func(name string) string { return test.env[name] }
		if got := colours(env, func() bool { return false }); got != test.wantPipe {
			t.Errorf("%v: %t in a pipe", test.env, got)
		}
		if got := colours(env, func() bool { return test.obeys }); got != test.wantThere {
			t.Errorf("%v: %t on a terminal", test.env, got)
		}
	}
}

// TestLines: lines among rows are aligned with nothing, and what people copy is whole.
func TestLines(t *testing.T) {
	d := digest.FromString("x").String()
	table := Table{Result("app:v1@" + d), Line(Plain, "  web@"+d), {{Text: "a"}, {Text: "1 B", Right: true}, {Text: "index"}}, {{Text: "b"}, {}, {}}, Line(Warning, "  left out")}
	want := "app:v1@" + d + "\n  web@" + d[:19] + "…\na  1 B  index\nb\n  left out\n"
	if got := print(t, table, Screen{Width: 40}); got != want {
		t.Errorf("printed\n%swant\n%s", got, want)
	}
}
