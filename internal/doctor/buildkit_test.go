package doctor

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
)

// withBuildKit is a healthy node whose buildkitd uses the gateway.
func withBuildKit(t *testing.T) *machine {
	o := installOn("reg.test")
	o.For = []string{node.Containerd, node.BuildKit}
	n := healthy(t, o)
	o.Address = n.address()
	done, err := node.Install(t.Context(), n.Root, o)
	n.Must(err)
	n.Put(map[string]string{node.BuildKitConfig: "debug = true\n" + string(done.BuildKit)})
	return n
}

// TestDoctorChecksBuildKit makes one thing wrong with a buildkitd.toml, and looks for the one line about it.
func TestDoctorChecksBuildKit(t *testing.T) {
	const toml = "problem: " + node.BuildKitConfig + ": "
	edit := func(old, new string) func(*machine) {
		return func(n *machine) {
			n.Edit(node.BuildKitConfig, strings.ReplaceAll(old, "ADDRESS", n.address()), strings.ReplaceAll(new, "ADDRESS", n.address()))
		}
	}
	for name, test := range map[string]struct {
		spoil func(n *machine)
		want  string // GONE is the name of the pair without its ending
	}{
		"nothing":         {func(*machine) {}, ""},
		"no file":         {func(n *machine) { n.Must(os.Remove(n.Path(node.BuildKitConfig))) }, toml + "buildkitd does not use the gateway; fix: nestctl install *"},
		"nothing of it":   {func(n *machine) { n.Put(map[string]string{node.BuildKitConfig: "debug = true\n"}) }, toml + "buildkitd does not use the gateway; fix: nestctl install *"},
		"path":            {edit(`mirrors = ["ADDRESS"]`, `mirrors = ["https://ADDRESS/reg.test", "mirror.test"]`), ""},
		"does not parse":  {edit("debug = true", "debug = ["), "problem: " + node.BuildKitConfig + ":*: buildkitd does not start with it; fix: correct it"},
		"no mirror":       {edit(`mirrors = ["ADDRESS"]`, ""), toml + `[registry."reg.test"] has no mirror ADDRESS, so that buildkitd does not use the gateway for it; fix: nestctl install --mode node --registry reg.test * --for containerd --for buildkit prints what to add; restart buildkitd`},
		"no registry":     {edit(`"reg.test"`, `"other.test"`), toml + `[registry."reg.test"] has no mirror ADDRESS*`},
		"before":          {edit(`mirrors = [`, `mirrors = ["mirror.test/x", `), toml + `[registry."reg.test"]: the mirror mirror.test/x is before the gateway, so that buildkitd asks it first; fix: move ADDRESS to the beginning of mirrors, and restart buildkitd`},
		"another name":    {edit(`mirrors = ["127.0.0.1`, `mirrors = ["localhost`), toml + `[registry."reg.test"]: the mirror localhost:* is not how the gateway's table is named; fix: write ADDRESS, and restart buildkitd`},
		"no http":         {edit("http = false", ""), toml + `[registry."ADDRESS"] lacks http = false, without which buildkitd leaves out TLS on loopback; fix: set http = false, and restart buildkitd`},
		"http":            {edit("http = false", "http = true"), toml + `[registry."ADDRESS"] has http = true, and the gateway answers only over TLS; fix: set http = false, and restart buildkitd`},
		"insecure":        {edit("http = false", "http = false\ninsecure = true"), toml + `[registry."ADDRESS"] has insecure = true, so that any process on the node can pretend to be the gateway; fix: remove insecure, and restart buildkitd`},
		"no certificates": {edit("tlsconfigdir", "other"), toml + `[registry."ADDRESS"] names no CA or no client certificate*; fix: set tlsconfigdir = ["` + node.BuildKitCerts + `"], and restart buildkitd`},
		"no directory":    {func(n *machine) { n.Must(os.RemoveAll(n.Path(node.BuildKitCerts))) }, toml + `[registry."ADDRESS"] names no CA or no client certificate*`},
		"no directory but a file": {func(n *machine) {
			n.Must(os.RemoveAll(n.Path(node.BuildKitCerts)))
			n.Put(map[string]string{node.BuildKitCerts: ""})
		}, toml + `[registry."ADDRESS"] names ` + node.BuildKitCerts + ": *; fix: run nestctl doctor as root"},
		"no key":     {func(n *machine) { n.Must(os.Remove(n.one(node.BuildKitCerts + "/*.key"))) }, toml + `[registry."ADDRESS"]: GONE.key: no such file or directory; every pull of the registries fails; fix: *`},
		"no pair":    {func(n *machine) { n.Must(os.WriteFile(n.one(node.BuildKitCerts+"/*.cert"), []byte("x"), 0o600)) }, toml + `[registry."ADDRESS"]: GONE.cert: tls: *; every pull of the registries fails; fix: *`},
		"no CA":      {edit("tlsconfigdir", "ca = [\"/gone.crt\"]\ntlsconfigdir"), toml + `[registry."ADDRESS"]: /gone.crt: no such file or directory; every pull of the registries fails; fix: *`},
		"another CA": {func(n *machine) { n.Must(os.WriteFile(n.one(node.BuildKitCerts+"/*.crt"), []byte("x"), 0o600)) }, toml + `[registry."ADDRESS"]: gateway and buildkitd do not trust each other by its certificates: CA: no certificate in PEM; fix: *`},
		"files beside hosts.toml": {func(n *machine) {
			ca, client := strings.TrimPrefix(n.one(reg+"nested-*-ca.pem"), n.Root), strings.TrimPrefix(n.one(reg+"nested-*.pem"), n.Root)
			n.Edit(node.BuildKitConfig, "tlsconfigdir = [\""+node.BuildKitCerts+"\"]", "ca = [\""+ca+"\"]\nkeypair = [{ cert = \"/kept.pem\", key = \"/kept.pem\" }]")
			n.Put(map[string]string{"/kept.pem": string(n.Read(client))})
		}, toml + `[registry."ADDRESS"] names ` + reg + `nested-*-ca.pem, which goes when the certificates are renewed*; fix: set tlsconfigdir = ["` + node.BuildKitCerts + `"] in place of ca and keypair, and restart buildkitd`},
	} {
		t.Run(name, func(t *testing.T) {
			n := withBuildKit(t)
			gone := strings.TrimSuffix(strings.TrimPrefix(n.one(node.BuildKitCerts+"/*.crt"), n.Root), ".crt")
			test.spoil(n)
			lines := strings.Split(strings.TrimSuffix(n.look(), "\n"), "\n")
			if test.want == "" {
				test.want = "no problem found"
			}
			if len(lines) != 1 || !fits(strings.NewReplacer("ADDRESS", n.address(), "GONE", gone).Replace(test.want), lines[0]) || n.notes != nil {
				t.Errorf("got\n%s\nwant\n%s\nnotes %q", strings.Join(lines, "\n"), test.want, n.notes)
			}
		})
	}
}

// TestDoctorOfBuildKitAlone asks the gateway with buildkitd's certificates, and looks for no containerd.
func TestDoctorOfBuildKitAlone(t *testing.T) {
	o := installOn("reg.test")
	o.For = []string{node.BuildKit}
	n := healthy(t, o)
	o.Address = n.address()
	done, err := node.Install(t.Context(), n.Root, o)
	n.Must(err)
	n.Put(map[string]string{node.BuildKitConfig: string(done.BuildKit)})
	n.Must(os.RemoveAll(n.Path("/etc/containerd")))
	if out := n.look("reg.test/org/app:v1"); out != "no problem found\n" {
		t.Error(out)
	}
	if out := n.look("reg.test/org/app:v2"); !strings.HasPrefix(out, "buildkit of reg.test/org/app:v2: the gateway answers 404") {
		t.Error(out)
	}
	n.now = n.now.Add(300 * 24 * time.Hour)
	if out := n.look(); !fits("problem: the certificates that "+node.BuildKitConfig+": [registry.*] names expire on 20* and should have been renewed; fix: nestctl install; *\n", out) {
		t.Error(out)
	}
	n.now = time.Now()
	n.Put(map[string]string{config.Path: fmt.Sprintf("version = 1\n[gateway]\nmode = \"pod\"\nregistries = [\"reg.test\"]\naddress = %q\n", n.address())})
	if out := n.look(); !strings.Contains(out, "problem: "+node.BuildKitConfig+": mode pod cannot work, because BuildKit sends no credential to a mirror; fix: use mode node") {
		t.Error(out)
	}
}

// TestDoctorNotesBuildKit: a buildkitd that does not use the gateway is no problem.
func TestDoctorNotesBuildKit(t *testing.T) {
	n := healthy(t, installOn("reg.test"))
	n.Put(map[string]string{node.BuildKitConfig: "[registry.\"reg.test\"]\nmirrors = [\"mirror.test\"]\n"})
	if out := n.look(); out != "no problem found\n" {
		t.Error(out)
	}
	if want := []string{"note: " + node.BuildKitConfig + ": buildkitd does not use the gateway; nestctl install * --for containerd --for buildkit prints what to add; restart buildkitd"}; !slices.EqualFunc(want, n.notes, fits) {
		t.Errorf("%q", n.notes)
	}
}
