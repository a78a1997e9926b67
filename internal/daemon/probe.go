package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// probeFailed is the exit status of a probe for which something other than the
// file is wrong.
const probeFailed = 1

// probe returns a function that reads a location cache in another process: this
// program with these arguments and the path. However that process ends, the
// file is damaged, unless it says that something else is wrong.
func probe(arguments []string) func(path string) error {
	return func(path string) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		return probeResult(exec.CommandContext(context.Background(), self, append(slices.Clone(arguments), path)...)) // it ends by itself
	}
}

func probeResult(probe *exec.Cmd) error {
	_, err := probe.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	said, _, _ := strings.Cut(string(exit.Stderr), "\n") // a panic prints more lines
	err = fmt.Errorf("reading it: %w: %s", err, sanitize.Text(said))
	if exit.ExitCode() == probeFailed {
		return err
	}
	return fmt.Errorf("%w: %w", locations.ErrDamaged, err)
}
