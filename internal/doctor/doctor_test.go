package doctor

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/node/nodetest"
	"github.com/nestedoci/nested/remotes/auth"
)

const (
	reg        = "/etc/containerd/certs.d/reg.test/"
	containerd = "/etc/containerd/config.toml"
	dockerJSON = "/root/.docker/config.json"
)

// machine is a node on which the doctor looks at a time of its own.
type machine struct {
	*nodetest.Machine
	now   time.Time
	notes []string // of the last look
	table Table    // of it
	user  auth.Source
}

func newMachine(t *testing.T, files map[string]string) *machine {
	return &machine{Machine: nodetest.New(t, files), now: time.Now()}
}

// installOn is what most tests install.
func installOn(registries ...string) node.Options {
	return node.Options{Mode: "node", Registries: registries}
}

func (n *machine) install(o node.Options) {
	n.T.Helper()
	_, err := node.Install(n.T.Context(), n.Root, o)
	n.Must(err)
}

// address is the gateway's.
func (n *machine) address() string {
	n.T.Helper()
	r, err := node.ReadRecord(n.Root)
	n.Must(err)
	return r.Options.Address
}

// healthy is a node on which all is well, with the gateway's server in the
// test.
func healthy(t *testing.T, o node.Options) *machine {
	n := newMachine(t, map[string]string{
		containerd: "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
	})
	n.Must(os.Chmod(n.Path(dockerJSON), 0o600))
	o.Address = n.Serve(http.HandlerFunc(answerAsGateway))
	n.install(o)
	return n
}

var missing = "sha256:" + strings.Repeat("a", 64)

// answerAsGateway has reg.test/org/app:v1 and is denied org/app/secret.
func answerAsGateway(w http.ResponseWriter, r *http.Request) {
	switch r.URL.RequestURI() {
	case "/v2/":
	case "/v2/org/app/manifests/v1?ns=reg.test", "/v2/reg.test/org/app/manifests/v1":
		fmt.Fprint(w, `{"schemaVersion":2,"config":{},"layers":[]}`)
	case "/v2/org/app/secret/manifests/latest?ns=reg.test":
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"reg.test/org/app/secret denied: 401; log in: docker login reg.test"}]}`)
	case "/v2/org/app/manifests/members?ns=reg.test":
		fmt.Fprint(w, `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+missing+`"},{"mediaType":"application/x-thing","digest":"`+strings.ReplaceAll(missing, "a", "b")+`"}]}`)
	case "/v2/org/app/manifests/" + missing + "?ns=reg.test":
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"child reg.test/org/app/web@sha256:absent: not found"}]}`)
	case "/v2/org/app/manifests/abort?ns=reg.test":
		panic(http.ErrAbortHandler)
	case "/v2/org/app/manifests/invalid?ns=reg.test":
		w.WriteHeader(http.StatusBadRequest)
	case "/v2/nestctl-doctor/manifests/latest?ns=down.test", "/v2/x/app/manifests/latest?ns=down.test":
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, `{"errors":[{"code":"UNKNOWN","message":"no route to host"}]}`)
	case "/v2/org/pods/manifests/v1?ns=reg.test":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// look runs a doctor on its root as if that were the node, so that what runs is
// asked, and returns what it says, with the rows of what failed at the end.
func (n *machine) look(refs ...string) string {
	n.T.Helper()
	n.notes, n.table = nil, nil
	o := Options{Root: n.Root, Config: config.Path, ContainerdConfig: containerd, Now: n.now,
		Note: func(p Problem) { n.notes = append(n.notes, p.Note()) }, Table: func(t Table) { n.table = t }, Credentials: n.user}
	for _, arg := range refs {
		ref, err := auth.ParseReference(arg)
		n.Must(err)
		o.References = append(o.References, ref)
	}
	var out strings.Builder
	found, err := load(o).look(n.T.Context(), true, func(p Problem) { fmt.Fprintln(&out, p) })
	n.Must(err)
	for _, r := range n.table {
		if r.Failed {
			fmt.Fprintf(&out, "%s of %s: %s; next: %s\n", r.Program, r.Reference, r.Result, r.Next)
		}
	}
	if found != (out.Len() > 0) {
		n.T.Fatalf("%t:\n%s", found, &out)
	}
	return cmp.Or(out.String(), "no problem found\n")
}

// one is the one path that fits a pattern.
func (n *machine) one(pattern string) string {
	n.T.Helper()
	paths, err := filepath.Glob(n.Path(pattern))
	n.Must(err)
	paths = slices.DeleteFunc(paths, func(p string) bool {
		return strings.HasSuffix(pattern, "/nested-*.pem") && strings.HasSuffix(p, "-ca.pem")
	})
	if len(paths) != 1 {
		n.T.Fatalf("%s: %v", pattern, paths)
	}
	return paths[0]
}

func TestDoctorFindsNothingOnHealthyNode(t *testing.T) {
	n := healthy(t, installOn("reg.test", "other.test:5000"))
	before := n.Tree()
	if out := n.look("reg.test/org/app:v1"); out != "no problem found\n" {
		t.Error(out)
	}
	n.WantTree(before)
	n.Edit(reg+"hosts.toml", "  capabilities = [\"pull\", \"resolve\"]\n", "") // all, to containerd
	if out := n.look(); out != "no problem found\n" {
		t.Error(out)
	}
}

// TestDoctorSeesServerThatIsGone: without server containerd takes the registry itself, over https. That is a problem only where the
// administrator had something else.
func TestDoctorSeesServerThatIsGone(t *testing.T) {
	for server, want := range map[string]string{
		"https://reg.test": "no problem found\n",
		"http://reg.test":  "problem: " + reg + "hosts.toml was changed since it was installed, and the gateway still uses its copy,  *; fix: nestctl install *, then systemctl reload nested-gateway\n",
	} {
		n := newMachine(t, map[string]string{
			containerd:         "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
			reg + "hosts.toml": fmt.Sprintf("server = %q\n", server),
		})
		n.Must(os.Chmod(n.Path(dockerJSON), 0o600))
		o := installOn("reg.test")
		o.Address = n.Serve(http.HandlerFunc(answerAsGateway))
		n.install(o)
		if got := n.look(); got != "no problem found\n" {
			t.Errorf("%s: %s", server, got)
		}
		n.Edit(reg+"hosts.toml", "server =", "# server =")
		if got := n.look(); !fits(want, got) {
			t.Errorf("%s, without: %s", server, got)
		}
	}
}

// TestDoctorNamesProblemAndFix makes one thing wrong on a healthy node, and looks for the one
// line about it.
func TestDoctorNamesProblemAndFix(t *testing.T) {
	helpers := t.TempDir()
	t.Setenv("PATH", helpers)
	failing := filepath.Join(helpers, "docker-credential-failing")
	if err := os.WriteFile(failing, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	v3 := `/etc/containerd/config.toml: [plugins."io.containerd.cri.v1.images"] `
	for _, test := range []struct {
		name  string
		spoil func(n *machine)
		refs  []string
		want  string // a line; * is anything, ADDRESS the gateway's
		other bool   // more lines are fine
	}{
		// the gateway's configuration
		{name: "no configuration", spoil: func(n *machine) { n.Must(os.Remove(n.Path(config.Path))) },
			want: "problem: /etc/nested/config.toml does not exist; fix: nestctl install --mode MODE --registry HOST"},
		{name: "bad configuration", spoil: func(n *machine) { n.Edit(config.Path, `prefetch = 64`, `prefetch = 6400`) },
			want: `problem: /etc/nested/config.toml:*: gateway.prefetch is 6400; fix: must be at least 0 and at most 1024`},
		{name: "configuration of everybody", spoil: func(n *machine) { n.Must(os.Chmod(n.Path(config.Path), 0o666)) },
			want: "problem: */etc/nested/config.toml: can be written by its group or others; fix: chmod go-w */etc/nested/config.toml"},
		{name: "gateway's key of everybody", spoil: func(n *machine) { n.Must(os.Chmod(n.Path(config.Default().Gateway.Certificate), 0o644)) },
			want: "problem: */etc/nested/tls/gateway.pem: can be read by its group or others; fix: chmod go-r *"},
		{name: "credentials of everybody", spoil: func(n *machine) { n.Must(os.Chmod(n.Path(dockerJSON), 0o644)) },
			want: "problem: */root/.docker/config.json: can be read by its group or others; fix: chmod go-r *"},

		// where containerd looks
		{name: "no config.toml", spoil: func(n *machine) { n.Must(os.Remove(n.Path(containerd))) },
			want: "problem: " + v3 + `registry.config_path is not set: *; fix: in /etc/containerd/config.toml: [plugins."io.containerd.cri.v1.images".registry] config_path = "/etc/containerd/certs.d", and restart containerd`},
		{name: "no config_path", spoil: func(n *machine) { n.Put(map[string]string{containerd: "version = 4\n"}) },
			want: "problem: " + v3 + `registry.config_path is not set: *; fix: *`},
		{name: "no config_path, 1.7", spoil: func(n *machine) { n.Put(map[string]string{containerd: "version = 2\n"}) },
			want: `problem: *"io.containerd.grpc.v1.cri"] registry.config_path is not set: *; fix: in * [plugins."io.containerd.grpc.v1.cri".registry] config_path = *`},
		{name: "key of another version", spoil: func(n *machine) { n.Edit(containerd, "version = 3", "version = 2") },
			want: `problem: *"io.containerd.grpc.v1.cri"] registry.config_path is not set: *`},
		{name: "two roots", spoil: func(n *machine) { n.Edit(containerd, "certs.d", "certs.d:/etc/docker/certs.d") },
			want: "problem: " + v3 + `registry.config_path = "/etc/containerd/certs.d:/etc/docker/certs.d" names two directories; the transfer service ignores both; fix: in *config_path = "/etc/containerd/certs.d", and restart containerd`},
		{name: "another root", spoil: func(n *machine) { n.Edit(containerd, "certs.d", "hosts.d") },
			want: "problem: " + v3 + `registry.config_path = "/etc/containerd/hosts.d" is not where hosts.toml is installed, /etc/containerd/certs.d; fix: *`},
		{name: "two roots in an import", spoil: func(n *machine) {
			n.Edit(containerd, "version = 3\n", "version = 3\nimports = [\"conf.d/*.toml\"]\n")
			n.Put(map[string]string{"/etc/containerd/conf.d/a.toml": strings.ReplaceAll(string(n.Read(containerd)), "certs.d", "certs.d:/b")})
		}, want: `problem: /etc/containerd/conf.d/a.toml: *"/etc/containerd/certs.d:/b" names two*; fix: in /etc/containerd/conf.d/a.toml: *`},
		{name: "config.toml does not parse", spoil: func(n *machine) { n.Put(map[string]string{containerd: "version = 3\n[plugins\n"}) },
			want: "problem: /etc/containerd/config.toml:2:*; fix: correct it"},
		{name: "newer version", spoil: func(n *machine) { n.Put(map[string]string{containerd: "version = 99\n"}) },
			want: "problem: /etc/containerd/config.toml: version 99 is unknown to this nestctl; fix: use a newer one"},

		// hosts.toml
		{name: "no hosts.toml", spoil: func(n *machine) { n.Must(os.Remove(n.Path(reg + "hosts.toml"))) },
			want: "problem: " + reg + "hosts.toml does not exist, so that containerd does not use the gateway for reg.test; fix: nestctl install --mode node --registry reg.test --allow 'reg.test/org/**' --address ADDRESS"},
		{name: "hosts.toml of a directory that wins", spoil: func(n *machine) {
			n.Must(os.MkdirAll(n.Path("/etc/containerd/certs.d/reg.test_5000_"), 0o755))
			n.Edit(config.Path, `"reg.test"`, `"reg.test", "reg.test:5000"`)
		}, want: "problem: /etc/containerd/certs.d/reg.test_5000_/hosts.toml does not exist*"},
		{name: "hosts.toml does not parse", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", "\n[host", "\n[[host") },
			want: "problem: " + reg + "hosts.toml:*: containerd goes on without the file; fix: correct it"},
		{name: "unknown capability", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", `"resolve"`, `"fly"`) },
			want: "problem: " + reg + "hosts.toml: *fly*: containerd goes on without the file; fix: correct it"},
		{name: "not first", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", "[host", "[host.\"https://mirror.test\"]\n[host") },
			want: "problem: " + reg + `hosts.toml: [host."https://ADDRESS"] is not the first host, so that containerd tries others before it; fix: move it before all other hosts`, other: true},
		{name: "gateway's address in it", spoil: func(n *machine) {
			n.Edit(reg+"hosts.toml", n.address(), "127.0.0.1:9")
		}, want: "problem: " + reg + `hosts.toml: [host."https://127.0.0.1:9"] is not the gateway's URL; fix: make it [host."https://ADDRESS"]`, other: true},
		{name: "changed", spoil: func(n *machine) {
			n.Must(os.WriteFile(n.Path(reg+"hosts.toml"), append(n.Read(reg+"hosts.toml"), "[host.\"https://mirror.test\"]\n"...), 0o644))
		}, want: "problem: " + reg + "hosts.toml was changed since it was installed, and the gateway still uses its copy,  /etc/nested/certs.d/reg.test/hosts.toml; fix: nestctl install * ADDRESS, then systemctl reload nested-gateway"},
		{name: "gateway's own hosts.toml", spoil: func(n *machine) { n.Put(map[string]string{"/etc/nested/certs.d/reg.test/hosts.toml": "server = ["}) },
			want: "problem: /etc/nested/certs.d/reg.test/hosts.toml:1:*: the gateway does not reach reg.test without it; fix: correct it, then systemctl reload nested-gateway"},
		{name: "not in it", spoil: func(n *machine) { n.Put(map[string]string{reg + "hosts.toml": "server = \"https://reg.test\"\n"}) },
			want: "problem: " + reg + `hosts.toml: the gateway, [host."https://ADDRESS"], is not in it; fix: nestctl install --mode node*`},
		{name: "another host's CA missing", spoil: func(n *machine) {
			n.Put(map[string]string{reg + "hosts.toml": string(n.Read(reg+"hosts.toml")) + "[host.\"https://mirror.test\"]\n  ca = \"/etc/mirror.pem\"\n"})
		}, want: "problem: " + reg + "hosts.toml names /etc/mirror.pem: no such file or directory; containerd pulls nothing with it; fix: put it right, or take it out of " + reg + "hosts.toml", other: true},
		{name: "a second client that is none", spoil: func(n *machine) {
			n.Put(map[string]string{reg + "second.pem": "x"})
			n.Edit(reg+"hosts.toml", "  client = ", "  client = [\"second.pem\"]\n  # ")
			n.Edit(reg+"hosts.toml", "[\"second.pem\"]", "[\""+filepath.Base(n.one(reg+"nested-*.pem"))+"\", \"second.pem\"]")
		}, want: "problem: " + reg + "hosts.toml names second.pem: tls: *; containerd pulls nothing with it; fix: *"},
		{name: "a CA of the registry that is none", spoil: func(n *machine) {
			n.Put(map[string]string{reg + "ca.crt": "x", reg + "hosts.toml": "ca = \"ca.crt\"\n" + string(n.Read(reg+"hosts.toml"))})
		}, want: "problem: " + reg + "hosts.toml names ca.crt: has no certificate; *", other: true},
		{name: "override_path", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", "  ca =", "  override_path = true\n  ca =") },
			want: "problem: " + reg + `hosts.toml: * has override_path, so that requests come without /v2 and the gateway does not know them; fix: remove override_path`},
		{name: "skip_verify", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", "  ca =", "  skip_verify = true\n  ca =") },
			want: "problem: " + reg + `hosts.toml: * has skip_verify, so that any process on the node can pretend to be the gateway; fix: remove skip_verify`},
		{name: "http", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", "https://127", "http://127") },
			want: "problem: " + reg + `hosts.toml: [host."http://ADDRESS"] is not the gateway's URL; fix: make it [host."https://ADDRESS"]`},
		{name: "capabilities", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", `"pull", "resolve"`, `"pull"`) },
			want: "problem: *is not used for all requests of a pull; fix: set capabilities = [\"pull\", \"resolve\"]"},
		{name: "no ca", spoil: func(n *machine) { n.Edit(reg+"hosts.toml", "  ca =", "  # ca =") },
			want: "problem: *lacks ca or client*; fix: nestctl uninstall, then nestctl install *"},

		// certificates
		{name: "client's file missing", spoil: func(n *machine) { n.Must(os.Remove(n.one(reg + "nested-*.pem"))) },
			want: "problem: " + reg + "nested-*.pem, which " + reg + "hosts.toml needs: no such file or directory; fix: nestctl install *"},
		{name: "CA missing", spoil: func(n *machine) { n.Must(os.Remove(n.one(reg + "nested-*-ca.pem"))) },
			want: "problem: " + reg + "nested-*-ca.pem, which " + reg + "hosts.toml needs: no such file or directory; fix: nestctl install *"},
		{name: "client's key of everybody", spoil: func(n *machine) { n.Must(os.Chmod(n.one(reg+"nested-*.pem"), 0o644)) },
			want: "problem: *" + reg + "nested-*.pem: can be read by its group or others; fix: chmod go-r *"},
		{name: "of another installation", spoil: func(n *machine) {
			other := newMachine(n.T, nil)
			other.install(installOn("reg.test"))
			text, err := os.ReadFile(other.one(reg + "nested-*.pem"))
			n.Must(err)
			n.Must(os.WriteFile(n.one(reg+"nested-*.pem"), text, 0o600))
		}, want: "problem: * do not fit each other: containerd's certificate: x509: *; fix: move /etc/nested/tls away, then nestctl uninstall and nestctl install *", other: true},
		{name: "not a certificate", spoil: func(n *machine) { n.Must(os.WriteFile(n.one(reg+"nested-*.pem"), []byte("x"), 0o600)) },
			want: "problem: *: does not begin with a certificate in PEM; fix: move /etc/nested/tls away*"},
		{name: "about to end", spoil: func(n *machine) { n.now = n.now.Add(300 * 24 * time.Hour) },
			want: "problem: the certificates that " + reg + "hosts.toml names expire on 20* and should have been renewed; fix: nestctl install; systemctl status nested-renew.timer says why it was not done"},
		{name: "ended", spoil: func(n *machine) { n.now = n.now.Add(400 * 24 * time.Hour) },
			want: "problem: the certificates that " + reg + "hosts.toml names expired on 20*; fix: nestctl install; systemctl status nested-renew.timer says why*"},

		// proxies
		{name: "proxy", spoil: func(n *machine) {
			n.Put(map[string]string{"/etc/systemd/system/containerd.service.d/proxy.conf": "[Service]\nEnvironment=\"HTTPS_PROXY=http://u:HUNTER2@proxy:3128\" A=b\n"})
		}, want: "problem: HTTPS_PROXY is set for containerd, in /etc/systemd/system/containerd.service.d/proxy.conf, and not for nested-gateway.service; fix: systemctl edit nested-gateway, add the line *, systemctl restart nested-gateway"},

		// credentials
		{name: "credentials do not parse", spoil: func(n *machine) { n.Must(os.WriteFile(n.Path(dockerJSON), []byte("{HUNTER2"), 0o600)) },
			want: "problem: *config.json is not a Docker configuration: it does not parse*; fix: *"},
		{name: "no helper", spoil: func(n *machine) {
			n.Must(os.WriteFile(n.Path(dockerJSON), []byte(`{"credHelpers":{"reg.test":"absent"}}`), 0o600))
		}, want: "problem: *credential helper docker-credential-absent, asked for \"reg.test\" because of *: it is not in PATH; fix: install it or correct the configuration"},
		{name: "failing helper", spoil: func(n *machine) {
			n.Must(os.WriteFile(n.Path(dockerJSON), []byte(`{"credHelpers":{"reg.test/org/app":"failing"}}`), 0o600))
		}, refs: []string{"reg.test/org/app:v1"}, want: "problem: *credential helper docker-credential-failing, *: it exited with status 3; fix: run it by hand: echo SERVER | docker-credential-failing get"},
		{name: "failing helper of a registry", spoil: func(n *machine) {
			n.Must(os.WriteFile(n.Path(dockerJSON), []byte(`{"credHelpers":{"reg.test":"failing"}}`), 0o600))
		}, refs: []string{"reg.test/org/app:v1"}, want: "problem: credential helper docker-credential-failing, asked for \"reg.test\" because of *: it exited with status 3; fix: *"},

		// references
		{name: "registry not served", refs: []string{"other.test/org/app"},
			want: "containerd of other.test/org/app:latest: registry other.test is not in gateway.registries; next: nestctl install --mode node --registry reg.test --registry other.test --allow*"},
		{name: "not allowed", refs: []string{"reg.test/else/app:v1"},
			want: `containerd of reg.test/else/app:v1: parent not allowed: no pattern of gateway.allow matches reg.test/else/app; next: add "reg.test/else/app" to gateway.allow in /etc/nested/config.toml, then systemctl reload nested-gateway`},
		{name: "denied", refs: []string{"reg.test/org/app/secret"},
			want: "containerd of reg.test/org/app/secret:latest: the gateway answers 403: reg.test/org/app/secret denied: 401; next: log in: docker login reg.test"},
		{name: "member not found", refs: []string{"reg.test/org/app:members"},
			want: "containerd of reg.test/org/app:members: 1 manifest of 2 did not come: reg.test/org/app@sha256:aaaaaaaaaaaa: the gateway answers 404: child reg.test/org/app/web@sha256:absent: not found; next: check that the registry has it"},
		{name: "no answer", refs: []string{"reg.test/org/app:abort"},
			want: "containerd of reg.test/org/app:abort: the gateway does not answer: *; next: journalctl -u nested-gateway says more"},
		{name: "invalid", refs: []string{"reg.test/org/app:invalid"},
			want: "containerd of reg.test/org/app:invalid: the gateway answers 400: Bad Request; next: ask its publisher to publish it again as docs/spec.md says"},
		{name: "registry not reached", spoil: func(n *machine) { n.Edit(config.Path, `"reg.test"`, `"reg.test", "down.test"`) }, other: true,
			want: "problem: registry down.test: the gateway answers 502: no route to host; fix: check that the node reaches the registry; journalctl -u nested-gateway says more"},
		{name: "allowed part of a registry not reached", spoil: func(n *machine) {
			n.Edit(config.Path, `"reg.test"`, `"reg.test", "down.test"`)
			n.Edit(config.Path, `"reg.test/org/**"`, `"reg.test/org/**", "down.test/*/app"`)
		}, other: true, want: "problem: registry down.test: the gateway answers 502: no route to host; *"},
		{name: "not found", refs: []string{"reg.test/org/app:v2"},
			want: "containerd of reg.test/org/app:v2: the gateway answers 404: Not Found; next: check that the registry has it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := installOn("reg.test")
			o.Allow = []string{"reg.test/org/**"}
			n := healthy(t, o)
			address := n.address()
			if test.spoil != nil {
				test.spoil(n)
			}
			got := n.look(test.refs...)
			if strings.Contains(got, "HUNTER2") {
				t.Error("a secret is shown")
			}
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			want := strings.ReplaceAll(test.want, "ADDRESS", address)
			if !slices.ContainsFunc(lines, func(l string) bool { return fits(want, l) }) || len(lines) > 1 && !test.other {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// fits reports whether a text is as a pattern has it, in which * is anything.
func fits(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(text, parts[0])
	for i, part := range parts[1:] {
		if !ok {
			return false
		}
		if i == len(parts)-2 {
			return strings.HasSuffix(rest, part)
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return ok && rest == ""
}

// TestDoctorLeavesCredentialsOfPods does not look at the node's credentials, nor take it for a
// problem that the pods' are asked for.
func TestDoctorLeavesCredentialsOfPods(t *testing.T) {
	o := installOn("reg.test")
	o.Mode = "pod"
	n := healthy(t, o)
	n.Must(os.WriteFile(n.Path(dockerJSON), []byte(`{"credsStore":"absent"}`), 0o644))
	if out := n.look("reg.test/org/pods:v1"); out != "no problem found\n" {
		t.Error(out)
	}
}

// TestDoctorSaysWhoCouldChangeFiles: the doctor says who could change what.
func TestDoctorSaysWhoCouldChangeFiles(t *testing.T) {
	n := newMachine(t, map[string]string{config.Path: "x"})
	n.Must(os.Chmod(n.Path("/etc/nested"), 0o777))
	out := n.look()
	if want := "problem: " + n.Path("/etc/nested") + ": can be written by its group or others; fix: chmod go-w "; !strings.Contains(out, want) {
		t.Errorf("the doctor says\n%swant %s", out, want)
	}
}
