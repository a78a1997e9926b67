// Command nestctl pulls and shows nested bundles: image indexes whose members
// live in child repositories (docs/spec.md).
//
// The rules of its user interface: results go to standard output and nothing
// else does; progress and errors go to standard error; an error is one line,
// lower case, begins with "nestctl: " and ends in the next step where there
// is one, and with --log-format json it is an entry of level error; foreign
// strings are shown with their control characters escaped; the exit status says
// what kind of failure it was (see exitStatus).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/log"

	"github.com/nestedoci/nested/internal/intercept"
	"github.com/nestedoci/nested/internal/sanitize"
)

// version is set by the linker; see the Makefile.
var version = "devel"

// main turns signals into the end of the context, so that every command cleans
// up after itself.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program without the process, for tests. It returns the exit
// status. The cause of an interrupted command does not matter to the user, so
// it is replaced.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	log.L.Logger.SetOutput(sanitize.Log{Writer: stderr})
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if ended, ok := errors.AsType[*intercept.ExitError](err); ok && ended.Err == nil {
		return ended.Status // the command has said itself what was wrong
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted; run the same command again to continue")
	}
	text := sanitize.Text(sanitize.URLs(advise(cmd, err)))
	if cmd.Root().Flag("log-format").Value.String() != "json" {
		fmt.Fprintln(stderr, "nestctl: "+text)
	} else if log.SetFormat(log.JSONFormat) == nil { // which an error about a flag comes before
		log.L.Error(text)
	}
	return exitStatus(err)
}
