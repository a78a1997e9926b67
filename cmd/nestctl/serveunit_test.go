package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
)

// TestServeUnit: the unit of nestctl serve has flags that there are, and is as closed as that of the gateway, but for what a
// service with a user of its own, and a port below 1024, has otherwise.
func TestServeUnit(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/systemd/nested-serve.service")
	clienttest.NoError(t, err)
	start := regexp.MustCompile(`(?m)^ExecStart=\S+/nestctl (.*)$`).FindStringSubmatch(string(unit))
	if start == nil {
		t.Fatal("no ExecStart")
	}
	cmd, flags, err := newRoot().Find(strings.Fields(start[1]))
	clienttest.NoError(t, err)
	clienttest.NoError(t, cmd.ParseFlags(flags))
	if cmd.Name() != "serve" || cmd.Flags().NArg() > 0 {
		t.Errorf("%s with arguments %q", cmd.Name(), cmd.Flags().Args())
	}
	gateway, err := os.ReadFile("../../internal/node/units/nested-gateway.service")
	clienttest.NoError(t, err)
	lines := strings.Split(string(unit), "\n")
	closed := regexp.MustCompile(`^(Protect|Private|NoNew|Lock|Restrict|SystemCall|UMask|Type|Restart|ExecReload|Limit)`)
	for _, line := range strings.Split(string(gateway), "\n") {
		if closed.MatchString(line) && line != "ProtectHome=read-only" && !slices.Contains(lines, line) {
			t.Errorf("no %s", line)
		}
	}
	for _, line := range []string{"DynamicUser=yes", "ProtectHome=yes", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"} {
		if !slices.Contains(lines, line) {
			t.Errorf("no %s", line)
		}
	}
}
