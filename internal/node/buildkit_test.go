package node

import (
	"bytes"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/usage"
)

// buildKitIntact fails when buildkitd could not load a pair, or when the gateway would not accept one.
func (n *machine) buildKitIntact() {
	n.T.Helper()
	cas, err := filepath.Glob(n.Path(BuildKitCerts + "/*.crt"))
	n.Must(err)
	theirs := config.Certificates{}
	for _, path := range cas {
		text, errRead := os.ReadFile(path)
		n.Must(errRead)
		theirs.CA = append(theirs.CA, text...)
	}
	certificates, err := filepath.Glob(n.Path(BuildKitCerts + "/*.cert"))
	n.Must(err)
	for _, path := range certificates {
		_, err = tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
		n.Must(err)
		if theirs.Gateway, err = os.ReadFile(n.Path(gatewayPEM)); err != nil {
			continue // the gateway is down
		}
		theirs.Client, err = os.ReadFile(path)
		n.Must(err)
		n.Must(theirs.Check("127.0.0.1:7117", n.now))
		ours := config.Certificates{CA: n.Read(clientCAPEM), Gateway: theirs.Gateway, Client: theirs.Client}
		n.Must(ours.Check("127.0.0.1:7117", n.now))
	}
}

// forBuildKit installs for buildkitd alone, or in addition.
func forBuildKit(n *machine) (Result, error) {
	return Install(n.T.Context(), n.Root, Options{Mode: "node", Registries: []string{"reg.test"}, For: []string{BuildKit}})
}

// pairs are the suffixes of the files in buildkitd's directory, by the name without it.
func (n *machine) pairs() map[string]string {
	n.T.Helper()
	paths, err := filepath.Glob(n.Path(BuildKitCerts + "/*"))
	n.Must(err)
	all := map[string]string{}
	for _, path := range paths {
		suffix := filepath.Ext(path)
		all[strings.TrimSuffix(path, suffix)] += suffix
	}
	return all
}

// TestInstallForBuildKit: an installation for buildkitd alone has certificates that fit, says what to add to its
// configuration until that has it, changes nothing when it is repeated, and a renewal leaves one pair.
func TestInstallForBuildKit(t *testing.T) {
	n := newMachine(t, map[string]string{BuildKitConfig: "debug = true\n"})
	before := n.Tree()
	dry, err := DryRun(t.Context(), n.Root, Options{Mode: "node", Registries: []string{"reg.test"}, For: []string{BuildKit}})
	n.Must(err)
	n.WantTree(before)
	done, err := forBuildKit(n)
	n.Must(err)
	if !bytes.Equal(dry.BuildKit, done.BuildKit) || !bytes.Contains(done.BuildKit, []byte("\n  tlsconfigdir = [\""+BuildKitCerts+"\"]\n")) {
		t.Errorf("the text is\n%s\nbefore\n%s", done.BuildKit, dry.BuildKit)
	}
	if got := n.has(); got != nil {
		t.Errorf("there are %q", got)
	}
	for name, suffixes := range n.pairs() {
		_, err = tls.LoadX509KeyPair(name+".cert", name+".key")
		if n.Must(err); suffixes != ".cert.crt.key" || len(n.pairs()) != 1 {
			t.Errorf("%s has %s of %d", name, suffixes, len(n.pairs()))
		}
	}
	n.Put(map[string]string{BuildKitConfig: "debug = true\n" + string(done.BuildKit)})
	done, err = forBuildKit(n)
	n.Must(err)
	if done.BuildKit != nil || done.Notes != nil || len(done.Paths()) > 0 {
		t.Errorf("once more: text %q, notes %q, changes %q", done.BuildKit, done.Notes, done.Paths())
	}
	n.Edit(BuildKitConfig, "http = false", "http = true")
	if done, err = forBuildKit(n); err != nil || done.BuildKit != nil || len(done.Notes) != 1 || !strings.HasPrefix(done.Notes[0], BuildKitConfig+": in [registry.") {
		t.Errorf("to change: text %q, notes %q, %v", done.BuildKit, done.Notes, err)
	}
	o := installOn("reg.test")
	o.For = []string{Containerd}
	if done, err = Install(t.Context(), n.Root, o); err != nil || done.BuildKit != nil || done.Notes != nil || len(done.Does) != 2 {
		t.Errorf("for containerd: text %q, notes %q, %q, %v", done.BuildKit, done.Notes, done.Does, err)
	}
	first := n.pairs()
	n.now = time.Now().Add(300 * 24 * time.Hour)
	n.Must(n.renew())
	for name := range n.pairs() {
		if first[name] != "" || len(n.pairs()) != 1 {
			t.Errorf("after a renewal there are %q, before it %q", n.pairs(), first)
		}
	}
	n.Put(map[string]string{BuildKitConfig: "debug = true\n"})
	n.Must(n.uninstall())
	n.WantTree(before)
}

// TestInstallForBuildKitRefuses what it cannot append to, and mode pod, before anything is written; and a renewal does not
// look at buildkitd's file.
func TestInstallForBuildKitRefuses(t *testing.T) {
	n := newMachine(t, nil)
	for text, want := range map[string]string{
		"[registry": BuildKitConfig + ":1:",
		"registry = { \"x.test\" = { http = true } }\n": BuildKitConfig + ": nothing can be appended to it; ",
	} {
		n.Put(map[string]string{BuildKitConfig: text})
		before := n.Tree()
		if _, err := forBuildKit(n); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		n.WantTree(before)
	}
	n.Must(os.Remove(n.Path(BuildKitConfig)))
	n.Must(os.Symlink("elsewhere", n.Path(BuildKitConfig)))
	if _, err := forBuildKit(n); err == nil || !strings.Contains(err.Error(), "is not a regular file; replace it by one") {
		t.Errorf("a link: %v", err)
	}
	o := Options{Mode: "pod", Registries: []string{"reg.test"}, For: []string{BuildKit}}
	if _, err := Install(t.Context(), n.Root, o); !errors.As(err, new(usage.Error)) || !strings.HasPrefix(err.Error(), "for buildkit: mode pod cannot work, because BuildKit ") {
		t.Errorf("mode pod: %v", err)
	}
	n.Must(os.Remove(n.Path(BuildKitConfig)))
	_, err := forBuildKit(n)
	n.Must(err)
	n.Put(map[string]string{BuildKitConfig: "[registry"})
	n.Must(n.renew())
}
