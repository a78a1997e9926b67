package integration

import (
	"fmt"
	"path/filepath"
	"testing"
)

// writeHosts writes the hosts.toml of a registry's name and returns its path.
func writeHosts(t testing.TB, certsD, name, text string) string {
	t.Helper()
	return writeFile(t, filepath.Join(certsD, name, "hosts.toml"), text)
}

// hostsOf is the hosts.toml with which containerd asks a registry under any name.
func (r *registry) hostsOf() string {
	text := fmt.Sprintf("server = %q\n", r.scheme+"://"+r.host)
	if r.caFile != "" {
		text += fmt.Sprintf("ca = %q\n", r.caFile)
	}
	return text
}

// puller is one of the two ways in which ctr pulls.
type puller string

const (
	transfer puller = "transfer" // the daemon's transfer service
	local    puller = "local"    // ctr itself
)

// pullHosts pulls an image by the hosts.toml files of a directory.
func (c *containerd) pullHosts(t testing.TB, with puller, certsD, ref string, more ...string) string {
	t.Helper()
	out, err := c.tryPullHosts(t, with, certsD, ref, more...)
	if err != nil {
		t.Fatalf("%s: pull of %s: %v\n%s", with, ref, err, out)
	}
	return out
}

// tryPullHosts returns all that ctr wrote.
func (c *containerd) tryPullHosts(t testing.TB, with puller, certsD, ref string, more ...string) (string, error) {
	t.Helper()
	args := []string{"image", "pull", fmt.Sprintf("--local=%t", with == local), "--hosts-dir", certsD}
	out, err := c.command(t, append(append(args, more...), ref)...).CombinedOutput()
	return string(out), err
}
