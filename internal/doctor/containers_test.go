package doctor

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/registriesconf"
)

// TestDoctorSaysOnceWhatHasChanged: a hosts.toml of containerd's that was changed is no change of podman's files.
func TestDoctorSaysOnceWhatHasChanged(t *testing.T) {
	n, _ := everything(t)
	hosts := config.ContainerdCerts + "/reg.test/hosts.toml"
	n.Put(map[string]string{hosts: string(n.Read(hosts)) + "[host.\"https://mirror.test\"]\n"})
	if out := n.look(); strings.Count(out, "problem: ") != 1 || !strings.HasPrefix(out, "problem: "+hosts+" was changed since it was installed") {
		t.Error(out)
	}
}

// TestDoctorChecksContainers: what makes podman and its like pass the gateway by, with nothing of containerd's on the node.
func TestDoctorChecksContainers(t *testing.T) {
	site, dropIn := registriesconf.DropIn("50-site.conf"), registriesconf.DropIn("zzz-nested.conf")
	const rootDropIn = "/root/.config/containers/registries.conf.d/mine.conf"
	const table = "[[registry]]\nlocation = \"reg.test\"\n"
	for _, test := range []struct {
		name  string
		spoil func(n *machine, certs string)
		want  string // of each line
		note  string
	}{
		{name: "healthy", want: "no problem found"},
		{name: "a new mirror", spoil: func(n *machine, _ string) {
			n.Put(map[string]string{site: table + "[[registry.mirror]]\nlocation = \"one.test\"\n"})
		}, want: "problem: * is not what follows from the files in /etc/containers, which have changed since it was installed; fix: nestctl install, then systemctl reload nested-gateway"},
		{name: "blocked since", spoil: func(n *machine, _ string) { n.Put(map[string]string{site: table + "blocked = true\n"}) },
			want: "problem: " + dropIn + " is not what follows *"},
		{name: "a later file", spoil: func(n *machine, _ string) { n.Put(map[string]string{registriesconf.DropIn("zzzz.conf"): table}) },
			want: "problem: /etc/containers/registries.conf.d/zzzz.conf: *"},
		{name: "the drop-in is gone", spoil: func(n *machine, _ string) { n.Must(os.Remove(n.Path(dropIn))) },
			want: "problem: no file in /etc/containers names the gateway as a mirror of reg.test; fix: nestctl install*"},
		{name: "no TOML", spoil: func(n *machine, _ string) { n.Put(map[string]string{site: "[["}) },
			want: "problem: " + site + ":1:*; fix: correct it, as podman refuses it, too"},
		{name: "insecure", spoil: func(n *machine, _ string) {
			n.Edit(dropIn, "[[registry.mirror]]\n", "[[registry.mirror]]\ninsecure = true\n")
		},
			want: "problem: " + dropIn + ": the mirror * is insecure, so that any process *; fix: remove insecure"},
		{name: "insecure loopback", spoil: func(n *machine, _ string) {
			n.Put(map[string]string{site: "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n"})
		}, want: "problem: " + site + ": the mirror * is insecure, so that any process *; fix: remove insecure"},
		{name: "blocked loopback", spoil: func(n *machine, _ string) {
			n.Put(map[string]string{site: "[[registry]]\nlocation = \"127.0.0.1\"\nblocked = true\n"})
		}, want: "problem: " + site + " blocks 127.0.0.1, and with it the gateway, which podman and its like pass by; fix: remove blocked"},
		{name: "another certificate", spoil: func(n *machine, certs string) {
			n.Put(map[string]string{certs + "/admin.cert": string(n.Read(certs + "/client.cert")), certs + "/admin.key": string(n.Read(certs + "/client.key"))})
		}, want: "no problem found"},
		{name: "a certificate alone", spoil: func(n *machine, certs string) { n.Put(map[string]string{certs + "/admin.cert": "x"}) },
			want: "problem: */admin.cert: there is no admin.key beside it, so that podman and its like pass the gateway by; fix: move it away"},
		{name: "a pair that is none", spoil: func(n *machine, certs string) {
			n.Put(map[string]string{certs + "/admin.cert": "x", certs + "/admin.key": "x"})
		}, want: "problem: */admin.cert: cannot be used with admin.key: *, so that podman and its like pass the gateway by; fix: move it away"},
		{name: "a bad short name", spoil: func(n *machine, _ string) {
			n.Put(map[string]string{site: "[aliases]\n\"web:v1\" = \"reg.test/web\"\n"})
		},
			want: "problem: " + site + ": aliases: *web:v1*: must be a name without registry, tag and digest; fix: correct it, as podman refuses it, too"},
		{name: "not first", spoil: func(n *machine, _ string) {
			n.Edit(dropIn, "[[registry.mirror]]\n", "[[registry.mirror]]\nlocation = 'one.test'\n\n[[registry.mirror]]\n")
		}, want: "problem: " + dropIn + ": the first mirror of reg.test is not *, or not for all pulls; fix: *"},
		{name: "by digest only", spoil: func(n *machine, _ string) {
			n.Edit(dropIn, "[[registry.mirror]]\n", "[[registry.mirror]]\npull-from-mirror = \"digest-only\"\n")
		}, want: "problem: " + dropIn + ": the first mirror of reg.test is not *, or not for all pulls; fix: *"},
		{name: "no key", spoil: func(n *machine, certs string) { n.Must(os.Remove(n.Path(certs + "/client.key"))) },
			want: "problem: */client.key, which /etc/containers/certs.d/* needs: no such file or directory; fix: nestctl install *"},
		{name: "everybody's key", spoil: func(n *machine, certs string) { n.Must(os.Chmod(n.Path(certs+"/client.key"), 0o644)) },
			want: "problem: *client.key: can be read by its group or others; fix: chmod go-r *"},
		{name: "expired", spoil: func(n *machine, _ string) { n.now = n.now.Add(400 * 24 * time.Hour) },
			want: "problem: the certificates that /etc/containers/certs.d/* names expired on *"},
		{name: "below", spoil: func(n *machine, _ string) {
			n.Put(map[string]string{site: "[[registry]]\nlocation = \"reg.test/team\"\n"})
		},
			want: "no problem found", note: "note: " + site + " has a table for reg.test/team: *"},
		{name: "root's own", spoil: func(n *machine, _ string) { n.Put(map[string]string{"/root/.config/containers/registries.conf": ""}) },
			want: "no problem found", note: "note: /root/.config/containers/registries.conf replaces the files in /etc/containers when root pulls*"},
		{name: "root's own drop-in", spoil: func(n *machine, _ string) { n.Put(map[string]string{rootDropIn: table}) },
			want: "no problem found", note: "note: " + rootDropIn + " has a table for reg.test, which counts in place of the gateway's when root pulls; *"},
		{name: "root's own drop-in for all hosts of the domain", spoil: func(n *machine, _ string) {
			n.Put(map[string]string{rootDropIn: "[[registry]]\nprefix = \"*.test\"\n"})
		}, want: "no problem found"}, // the longer prefix decides
		{name: "root's own drop-in, below", spoil: func(n *machine, _ string) {
			n.Put(map[string]string{rootDropIn: "[[registry]]\nlocation = \"reg.test/org\"\n"})
		}, want: "no problem found", note: "note: " + rootDropIn + " has a table for reg.test/org, which *"},
		{name: "root's own certificates", spoil: func(n *machine, certs string) {
			n.Put(map[string]string{strings.Replace(certs, "/etc", "/root/.config", 1) + "/ca.crt": ""})
		}, want: "no problem found", note: "note: /root/.config/containers/certs.d/* replaces the gateway's certificates when root pulls; move it away"},
		{name: "root's own drop-in is broken", spoil: func(n *machine, _ string) { n.Put(map[string]string{rootDropIn: "[["}) },
			want: "no problem found", note: "note: " + rootDropIn + ":1:*; correct it, as podman refuses it, too"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newMachine(t, nil)
			n.Must(os.Chmod(n.Path(dockerJSON), 0o600))
			o := installOn("reg.test")
			o.For, o.Address = []string{node.Containers}, n.Serve(http.HandlerFunc(answerAsGateway))
			n.install(o)
			if test.spoil != nil {
				test.spoil(n, filepath.Join(registriesconf.Dir, "certs.d", o.Address))
			}
			lines := n.look()
			for line := range strings.Lines(lines) {
				if !fits(test.want, strings.TrimSuffix(line, "\n")) {
					t.Errorf("%swant %s", line, test.want)
				}
			}
			what, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(lines, "\n"), "problem: "), "; fix: ")
			if got := n.look("reg.test/org/app:v1"); strings.Count(got, what) != 1 {
				t.Errorf("with a reference\n%s", got)
			}
			own := strings.Contains(test.note, "/root/")
			if result := n.results()[node.Containers]; own == strings.HasPrefix(result, "pulled, ") && test.want == "no problem found" {
				t.Errorf("with a reference: %s", result)
			}
			if n.look(); test.note != "" && !slices.ContainsFunc(n.notes, func(note string) bool { return fits(test.note, note) }) {
				t.Errorf("notes %q, want %s", n.notes, test.note)
			}
			if _, err := os.Stat(n.Path(config.ContainerdCerts + "/reg.test")); err == nil {
				t.Error("containerd has files")
			}
		})
	}
}
