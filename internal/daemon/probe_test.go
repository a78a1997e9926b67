package daemon

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/nestedoci/nested/remotes/transport/locations"
)

// TestProbeResult: a location cache is damaged when the process that reads it is ended by that, and not when it says what else is wrong.
func TestProbeResult(t *testing.T) {
	t.Parallel()
	for script, damaged := range map[string]bool{
		"echo 'nestctl: no such file' >&2; exit 1":                            false,
		"echo 'nestctl: damaged' >&2; exit 5":                                 true,
		"echo 'panic: reading it does not end' >&2; echo goroutine 1; exit 2": true,
		"kill -9 $$": true,
	} {
		err := probeResult(exec.CommandContext(context.Background(), "sh", "-c", script))
		if err == nil || errors.Is(err, locations.ErrDamaged) != damaged || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", script, err)
		}
	}
	if err := probeResult(exec.CommandContext(context.Background(), "true")); err != nil {
		t.Error(err)
	}
	if err := probeResult(exec.CommandContext(context.Background(), "/nonexistent")); err == nil || errors.Is(err, locations.ErrDamaged) {
		t.Errorf("no process: %v", err)
	}
}
