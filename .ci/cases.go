// Command cases compares docs/cases.txt with what a run of the tests has shown, and keeps the table in
// docs/security.md: how many cases of which class were shown, do not apply, or are open. Its argument is the file
// that testlog's -results wrote. With CI=true in the environment a table that differs is an error, else it is written.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	listFile  = "docs/cases.txt"
	tableFile = "docs/security.md"
	module    = "github.com/nestedoci/nested/"
	begin     = "<!-- table: begin -->\n"
	end       = "<!-- table: end -->"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(1)
	}
}

func run(resultsFile string) error {
	results, err := readResults(resultsFile)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(listFile)
	if err != nil {
		return err
	}
	classes, err := parse(string(text))
	if err != nil {
		return err
	}
	document, err := os.ReadFile(tableFile)
	if err != nil {
		return err
	}
	if err := errors.Join(judge(classes, results), named(string(document), results)); err != nil {
		return err
	}
	return keepTable(string(document), table(classes))
}

// result of a test: what `go test -json` calls its action.
type results map[string]string // by "<package's directory> <test>"

// readResults reads lines of action, package, and test. Of a test that ran more than once the worst counts.
func readResults(file string) (results, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := results{}
	for line := range strings.Lines(string(text)) {
		action, test, _ := strings.Cut(strings.TrimSpace(line), " ")
		test = strings.TrimPrefix(test, module)
		if all[test] == "" || all[test] == "pass" {
			all[test] = action
		}
	}
	return all, nil
}

// class is a class of cases.
type class struct {
	title string
	cases []*testCase
}

type testCase struct {
	number int
	text   string
	tests  []string
	open   []string // what is not shown
	not    string   // why it does not apply
}

var (
	classLine = regexp.MustCompile(`^[A-Z]\. (.+)$`)
	caseLine  = regexp.MustCompile(`^(\d+)\. (.+)$`)
	testLine  = regexp.MustCompile(`^  ([a-z/]+ (?:Test|Fuzz)\S+)$`)
)

// parse reads the list. Numbers go up by one.
func parse(text string) (classes []*class, err error) {
	var current *testCase
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		open, isOpen := strings.CutPrefix(line, "  open: ")
		not, isNot := strings.CutPrefix(line, "  not applicable: ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case classLine.MatchString(line):
			classes = append(classes, &class{title: line})
		case caseLine.MatchString(line) && len(classes) > 0:
			m := caseLine.FindStringSubmatch(line)
			n++
			if m[1] != strconv.Itoa(n) {
				return nil, fmt.Errorf("%s: case %s where %d was expected", listFile, m[1], n)
			}
			current = &testCase{number: n, text: m[2]}
			c := classes[len(classes)-1]
			c.cases = append(c.cases, current)
		case isOpen && current != nil:
			current.open = append(current.open, open)
		case isNot && current != nil:
			current.not = not
		case testLine.MatchString(line) && current != nil:
			current.tests = append(current.tests, line[2:])
		default:
			return nil, fmt.Errorf("%s: what is %q?", listFile, line)
		}
	}
	return classes, nil
}

// judge looks for every test of the list among those that passed.
func judge(classes []*class, got results) error {
	var wrong []error
	for _, c := range classes {
		for _, tc := range c.cases {
			if len(tc.tests) == 0 && len(tc.open) == 0 && tc.not == "" {
				wrong = append(wrong, fmt.Errorf("case %d: no test", tc.number))
			}
			for _, test := range tc.tests {
				wrong = append(wrong, got.passed(test, fmt.Sprintf("case %d", tc.number)))
			}
		}
	}
	return errors.Join(wrong...)
}

// passed fails unless a test did. What was skipped is reported by testlog, and fails there on CI.
func (r results) passed(test, where string) error {
	switch action := r[test]; action {
	case "pass", "skip":
		return nil
	case "":
		return fmt.Errorf("%s: %s did not run; is there such a test?", where, test)
	default:
		return fmt.Errorf("%s: %s: %s", where, test, action)
	}
}

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+(?:/[^`]+)?)`")

// named looks for the tests that a document names, in whatever package they are.
func named(document string, got results) error {
	names := map[string]string{}
	for test := range maps.Keys(got) {
		_, name, _ := strings.Cut(test, " ")
		names[name] = test
	}
	var wrong []error
	for _, m := range testName.FindAllStringSubmatch(document, -1) {
		wrong = append(wrong, got.passed(names[m[1]], tableFile+": "+m[1]))
	}
	return errors.Join(wrong...)
}

// table is Markdown.
func table(classes []*class) string {
	var lines strings.Builder
	row := func(title string, cases []*testCase) {
		shown, not, open := 0, 0, 0
		for _, tc := range cases {
			switch {
			case tc.not != "":
				not++
			case len(tc.open) > 0:
				open++
			default:
				shown++
			}
		}
		fmt.Fprintf(&lines, "| %s | %d | %d | %d | %d |\n", title, len(cases), shown, not, open)
	}
	lines.WriteString("| class | cases | shown | not applicable | open |\n|---|---|---|---|---|\n")
	var all []*testCase
	for _, c := range classes {
		row(c.title, c.cases)
		all = append(all, c.cases...)
	}
	row("all", all)
	lines.WriteString(openCases(all))
	return lines.String()
}

// openCases lists what is open.
func openCases(all []*testCase) string {
	var lines []string
	for _, tc := range all {
		if len(tc.open) > 0 {
			lines = append(lines, fmt.Sprintf("- %d, %s: %s", tc.number, tc.text, strings.Join(tc.open, "; ")))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "\nOpen:\n\n" + strings.Join(slices.Compact(lines), "\n") + "\n"
}

// keepTable writes the table into the document, or compares it with what is there.
func keepTable(document, table string) error {
	before, rest, found := strings.Cut(document, begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		return fmt.Errorf("%s: no place for the table", tableFile)
	case old == table:
		return nil
	case os.Getenv("CI") == "true":
		return fmt.Errorf("%s: the table is another than the run's; `make test-all` writes it", tableFile)
	}
	return os.WriteFile(tableFile, []byte(before+begin+table+end+after), 0o644)
}
