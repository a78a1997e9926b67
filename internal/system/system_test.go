package system

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ goos, command, says string }{
		{"linux", "install", ""},
		{"linux", Pull, ""},
		{"darwin", "copy", ""},
		{"windows", "pull", ""},
		{"darwin", "gateway", "gateway: needs Linux, and this is macOS; use nestctl serve"},
		{"darwin", "uninstall", "uninstall: needs Linux, and this is macOS; run it on the node"},
		{"windows", "install", "install: needs Linux, and this is Windows; "},
		{"windows", "doctor", "doctor: needs Linux, and this is Windows; "},
		{"freebsd", Pull, "pull --to containerd: needs Linux, and this is freebsd; use --to oci-layout:DIR"},
	} {
		err := Check(c.goos, c.command)
		if (err != nil) != (c.says != "") || err != nil && !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%s on %s: %v, want %q", c.command, c.goos, err, c.says)
		}
	}
}
