package doctor

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/node"
)

// TestDoctorShowsWhatEachGets when the gateway does not answer as it should: in each row the same.
func TestDoctorShowsWhatEachGets(t *testing.T) {
	for name, test := range map[string]struct {
		spoil        func(n *machine, s *shelf)
		ref          string
		result, next string
	}{
		"denied": {func(_ *machine, s *shelf) {
			s.refused[s.web] = "403 reg.test/org/app/web denied: 401; log in: docker login reg.test"
		}, app,
			"1 manifest of 4 did not come: reg.test/org/app/web@sha256:*: the gateway answers 403: reg.test/org/app/web denied: 401", "log in: docker login reg.test"},
		"missing": {func(_ *machine, s *shelf) { s.refused[s.web] = "404 child reg.test/org/app/web: not found" }, app,
			"1 manifest of 4 did not come: reg.test/org/app/web@sha256:*: the gateway answers 404: child reg.test/org/app/web: not found", "check that the registry has it"},
		"other content": {func(_ *machine, s *shelf) { s.content[s.web.String()] = []byte(`{"schemaVersion":2,"config":{}}`) }, app,
			"1 manifest of 4 did not come: reg.test/org/app/web@sha256:*: the gateway answers with other content: *", "ask its publisher *"},
		"no tag":                       {nil, "reg.test/org/app:v2", "the gateway answers 404: Not Found", "check that the registry has it"},
		"another":                      {nil, "other.test/app:v1", "registry other.test is not in gateway.registries", "nestctl install * --registry other.test *"},
		"another, and no program asks": {func(n *machine, _ *shelf) { n.Must(os.RemoveAll(n.Path("/etc/buildkit"))) }, "other.test/app:v1", "registry other.test is not in gateway.registries", "nestctl install *"},
		"long and evil":                {func(_ *machine, s *shelf) { s.refused[s.web] = "500 \x1b[31m" + strings.Repeat("y", 3000) }, app, "1 manifest of 4 did not come: *: the gateway answers 500: *", "*"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, s := everything(t)
			if test.spoil != nil {
				test.spoil(n, s)
			}
			out := n.look(test.ref)
			if strings.Contains(out, "problem: ") != strings.Contains(name, "no program asks") {
				t.Error(out)
			}
			if len(n.table) != len(node.ClientNames()) {
				t.Errorf("%+v", n.table)
			}
			for _, r := range n.table {
				if !r.Failed || !fits(test.result, r.Result) || !fits(test.next, r.Next) {
					t.Errorf("%+v", r)
				}
			}
			var text strings.Builder
			n.Must(n.table.Print(&text))
			for line := range strings.Lines(text.String()) {
				if strings.Contains(line, "\x1b") || len(line) > 1500 {
					t.Errorf("%d: %q", len(line), line)
				}
			}
		})
	}
}

// TestDoctorShowsDeadGatewayOnce: the rows do not repeat what keeps all programs from pulling.
func TestDoctorShowsDeadGatewayOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	n := newMachine(t, nil)
	n.installAll(listener.Addr().String())
	if out := n.look(app); strings.Count(out, "the gateway is not running") != 1 || !strings.HasPrefix(out, "problem: the gateway is not running: ") {
		t.Error(out)
	}
	for _, r := range n.table {
		if !r.Failed || r.Result != "not pulled: the problem above says why" || !strings.HasPrefix(r.Next, "systemctl restart nested-gateway") {
			t.Errorf("%+v", r)
		}
	}
	if len(n.table) != len(node.ClientNames()) {
		t.Errorf("%+v", n.table)
	}
}

// TestDoctorPrintsTable: one for all references, with the programs that were found and that are not installed for; these
// are no problem. The next step is not cut.
func TestDoctorPrintsTable(t *testing.T) {
	n := healthy(t, installOn("reg.test"))
	n.Put(map[string]string{
		"/usr/bin/podman": "", "/usr/bin/dockerd": "", node.DockerConfig: `{"storage-driver":"overlay2"}`, "/var/lib/rancher/k3s/agent/x": "",
		containerd: string(n.Read(containerd)) + "[plugins.\"io.containerd.internal.v1.nested\"]\n",
	})
	if out := n.look(app); out != "no problem found\n" {
		t.Error(out)
	}
	want := `program                                     way                                             result                                                                                                                                       next step
containerd                                  node gateway, /etc/containerd/certs.d           pulled, 1 manifest of 1 repository
containerd                                  plugin, in /etc/containerd/config.toml          not asked: where the plugin is in containerd, it asks the registry itself                                                                    nestctl check reg.test/org/app:v1, or pull it with ctr
docker                                      not installed for, found by /usr/bin/dockerd  does not ask the gateway: /etc/docker/daemon.json: "storage-driver": "overlay2": its graphdriver image store does not ask the gateway  use nestctl serve (docs/serve.md), or its containerd image store and --for docker
k3s                                         not installed for, found by /var/lib/rancher/k3s/agent  does not ask the gateway  nestctl install --mode node --registry reg.test --address ADDRESS --for containerd --for k3s
containers (podman, buildah, skopeo, CRI-O)  not installed for, found by /usr/bin/podman  does not ask the gateway  nestctl install --mode node --registry reg.test --address ADDRESS --for containerd --for containers
`
	spaces := regexp.MustCompile(`  +`)
	print := func() string {
		var text strings.Builder
		n.Must(n.table.Print(&text))
		return text.String()
	}
	if got := strings.ReplaceAll(spaces.ReplaceAllString(print(), "  "), n.address(), "ADDRESS"); got != spaces.ReplaceAllString(want, "  ") {
		t.Errorf("got\n%s", print())
	}
	if out := n.look(app, "reg.test/org/app:v2"); !strings.HasPrefix(out, "containerd of reg.test/org/app:v2: ") {
		t.Error(out)
	}
	if got := print(); strings.Count(got, "\n") != 11 || !strings.HasPrefix(got, "reference ") || strings.Count(got, "\nreg.test/org/app:v2  containerd ") != 2 {
		t.Errorf("two references\n%s", got)
	}
	n.table = Table{{Reference: app, Result: "https://u:HUNTER2@reg.test", Next: strings.Repeat("n", 1000)}}
	if got := print(); strings.Contains(got, "HUNTER2") || !strings.HasSuffix(got, strings.Repeat("n", 1000)+"\n") {
		t.Error(got)
	}
}
