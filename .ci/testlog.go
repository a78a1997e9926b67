// Command testlog runs `go test -json` with its arguments and prints what a person wants to see of
// it: the output of what failed, and go test's closing line for every package. Tests that were
// skipped are appended to a file with their reasons; with CI=true in the environment they are
// failures. Those that `make test` leaves to `make test-all` are only counted. What became of each test is appended to another file, one a line: pass, fail or skip,
// the package and the test's name.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Output     string
}

// report gathers the output of what is still running.
type report struct {
	out     io.Writer
	output  map[[2]string]*strings.Builder // by package and test
	skipped []string
	left    int // to make test-all
	results []string
}

// leftToAll is the reason of tests that are left to `make test-all`.
const leftToAll = "only in `make test-all`"

func main() {
	file := flag.String("skipped", "", "append what was skipped to this file")
	results := flag.String("results", "", "append what became of each test to this file")
	flag.Parse()

	r := &report{out: os.Stdout, output: map[[2]string]*strings.Builder{}}
	err := r.run(context.Background(), flag.Args())
	if r.left > 0 {
		fmt.Fprintf(r.out, "%d tests are %s\n", r.left, leftToAll)
	}
	if err == nil {
		err = errors.Join(save(*file, r.skipped), save(*results, r.results))
	}
	if err == nil && len(r.skipped) > 0 && os.Getenv("CI") == "true" {
		err = fmt.Errorf("skipped on CI:\n%s", strings.Join(r.skipped, "\n"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go test:", err)
		os.Exit(1)
	}
}

func (r *report) run(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err != nil {
			break // the end; Wait tells how it came to it
		}
	}
	return cmd.Wait()
}

func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(r.out, "%s\n", bytes.TrimSpace(line))
		return
	}
	key := [2]string{e.Package, e.Test}
	if e.Test != "" && slices.Contains([]string{"pass", "fail", "skip"}, e.Action) {
		r.results = append(r.results, e.Action+" "+e.Package+" "+e.Test)
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		r.add(key, e.Output)
	case "fail":
		r.fail(key)
	case "skip":
		r.skip(e, r.take(key))
	case "pass":
		r.take(key)
	}
}

// add keeps the output of a test until its fate is known; of a package's own it prints the closing
// line at once.
func (r *report) add(key [2]string, output string) {
	if strings.HasPrefix(output, "=== ") || output == "PASS\n" || output == "FAIL\n" {
		return
	}
	if key[1] == "" && isClosing(output) {
		fmt.Fprint(r.out, output)
		return
	}
	if r.output[key] == nil {
		r.output[key] = &strings.Builder{}
	}
	r.output[key].WriteString(output)
}

func isClosing(output string) bool {
	for _, prefix := range []string{"ok  \t", "FAIL\t", "?   \t", "-test.shuffle "} {
		if strings.HasPrefix(output, prefix) {
			return true
		}
	}
	return false
}

func (r *report) take(key [2]string) string {
	defer delete(r.output, key)
	if r.output[key] == nil {
		return ""
	}
	return r.output[key].String()
}

// fail prints the output of a test, or of a package and its tests that came to no end: a panic is
// in the output of one of these.
func (r *report) fail(key [2]string) {
	for other := range r.output {
		if other == key || key[1] == "" && other[0] == key[0] {
			fmt.Fprint(r.out, r.take(other))
		}
	}
}

// skip notes a skipped test with what it logged, which is the reason it gave. A package is skipped
// when it has no tests: no news.
func (r *report) skip(e event, output string) {
	if e.Test == "" {
		return
	}
	var reason []string
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--- ") {
			reason = append(reason, line)
		}
	}
	if len(reason) == 1 && strings.HasSuffix(reason[0], leftToAll) {
		r.left++
		return
	}
	r.skipped = append(r.skipped, fmt.Sprintf("  %s %s: %s", e.Package, e.Test, strings.Join(reason, " ")))
}

// save appends lines to a file.
func save(file string, lines []string) error {
	if file == "" || len(lines) == 0 {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, strings.Join(lines, "\n"))
	return errors.Join(err, f.Close())
}
