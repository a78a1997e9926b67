package integration

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// passStore is a password store of pass, with a gpg key of its own that needs no passphrase.
type passStore struct {
	env []string // what makes pass, gpg and the helper use it
}

const gpgKey = `%no-protection
Key-Type: eddsa
Key-Curve: ed25519
Subkey-Type: ecdh
Subkey-Curve: cv25519
Name-Real: nested
Name-Email: nested@example.test
Expire-Date: 0
%commit
`

func newPassStore(t *testing.T) *passStore {
	t.Helper()
	needs(t, "linux", "docker-credential-pass", "pass", "gpg", "gpg-agent", "gpgconf")
	dir := tempDir(t) // gpg-agent's socket is in it
	home := filepath.Join(dir, "gnupg")
	s := &passStore{env: []string{"GNUPGHOME=" + home, "PASSWORD_STORE_DIR=" + filepath.Join(dir, "store")}}
	batch := writeFile(t, filepath.Join(home, "key"), gpgKey)
	t.Cleanup(func() {
		stop := exec.Command("gpgconf", "--kill", "all") // t.Context is done when cleanups run
		stop.Env = append(stop.Environ(), s.env...)
		if out, err := stop.CombinedOutput(); err != nil {
			t.Errorf("gpgconf: %v\n%s", err, out)
		}
	})
	s.run(t, "", "gpg", "--batch", "--quiet", "--generate-key", batch)
	s.run(t, "", "pass", "init", "nested@example.test")
	return s
}

func (s *passStore) run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(cmd.Environ(), s.env...)
	cmd.Stdin = strings.NewReader(input)
	return runCommand(t, cmd)
}

// helperEntry is what credential helpers read and write.
type helperEntry struct {
	ServerURL, Username, Secret string
}

// store puts a credential into the store, through the helper as `docker login` does.
func (s *passStore) store(t *testing.T, server, username, secret string) {
	t.Helper()
	entry, err := json.Marshal(helperEntry{server, username, secret})
	must(t, err)
	s.run(t, string(entry), "docker-credential-pass", "store")
}

func (s *passStore) get(t *testing.T, server string) helperEntry {
	t.Helper()
	var entry helperEntry
	must(t, json.Unmarshal([]byte(s.run(t, server, "docker-credential-pass", "get")), &entry))
	return entry
}
