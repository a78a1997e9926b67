package main

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/reference"
)

var update = flag.Bool("update", false, "write docs/reference/cli.md anew")

const (
	cliHead = `# Commands

Results go to standard output, progress and errors to standard error. An error is one line and ends in the next step where
there is one; [troubleshooting](../troubleshooting.md) lists them. ` + "`REF`" + ` is a reference as docker writes it,
` + "`registry/repository:tag` or `registry/repository@sha256:…`" + `, with ` + "`docker.io`" + ` for names without a registry.

This page is generated from the program: ` + "`make docs`" + ` writes it.
`
	cliTail = `
## Exit statuses

| status | meaning |
|---|---|
| 0 | done |
| 1 | failure; of ` + "`nestctl doctor`" + `: there are problems; of ` + "`nestctl check`" + `: the bundle is incomplete for another reason than those below |
| 2 | usage: an unknown flag, a missing argument, values that exclude each other; nothing was requested |
| 3 | denied: the registry refuses the credential, or requires one |
| 4 | not found: the tag, the digest, or content that a bundle names |
| 5 | invalid: an index, a manifest, a layout, an archive or a lock; or a lock that the bundle no longer fits |

Where several apply, a usage error comes first, then invalid, denied, not found. ` + "`nestctl exec`" + ` ends with the status of
its command: 128 and the number after a signal, 127 when there is no such command, 126 when it cannot be executed.
`
)

// TestReference keeps docs/reference/cli.md equal to the commands, and its exit
// statuses to those of the code.
func TestReference(t *testing.T) {
	for _, name := range []string{"CONTAINERD_ADDRESS", "CONTAINERD_NAMESPACE", "CONTAINERD_SNAPSHOTTER"} { // defaults of flags
		t.Setenv(name, "")
	}
	page := reference.CLI(newRoot(), cliHead, cliTail)
	if err := reference.Compare("../../docs/reference/cli.md", page, "make docs", *update); err != nil {
		t.Error(err)
	}
	for status, word := range map[int]string{0: "done", failure: "failure", misuse: "usage", denied: "denied", notFound: "not found", invalid: "invalid"} {
		if !strings.Contains(page, fmt.Sprintf("| %d | %s", status, word)) {
			t.Errorf("no exit status %d, %s", status, word)
		}
	}
}
