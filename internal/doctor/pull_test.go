package doctor

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/registriesconf"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// shelf is a gateway with a bundle: an index of web, and of an index team of team/api, both in repositories of their own.
type shelf struct {
	content map[string][]byte // by digest; the bundle by its tag, too
	web     digest.Digest
	mu      sync.Mutex
	refused map[digest.Digest]string // what is answered in place of a manifest, after a status
	asked   map[string]int
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{content: map[string][]byte{}, refused: map[digest.Digest]string{}, asked: map[string]int{}}
	add := func(v any) ocispec.Descriptor {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data)), MediaType: mediaType(data)}
		s.content[d.Digest.String()] = data
		return d
	}
	image := func(name string) ocispec.Descriptor {
		return add(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{}, Annotations: map[string]string{"name": name}})
	}
	index := func(members map[string]ocispec.Descriptor) ocispec.Descriptor {
		i := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
		for name, d := range members {
			d.Annotations = map[string]string{nested.Annotation: name}
			i.Manifests = append(i.Manifests, d)
		}
		return add(i)
	}
	web := image("web")
	s.web = web.Digest
	root := index(map[string]ocispec.Descriptor{"web": web, "team": index(map[string]ocispec.Descriptor{"api": image("api")})})
	s.content["v1"] = s.content[root.Digest.String()]
	return s
}

func mediaType(data []byte) string {
	if strings.Contains(string(data), `"manifests"`) {
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

var shelved = regexp.MustCompile(`^/v2/(reg\.test/)?org/app/manifests/([^/?]+)(\?ns=reg\.test)?$`)

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := shelved.FindStringSubmatch(r.URL.RequestURI())
	switch {
	case r.URL.Path == "/v2/":
	case found == nil || (found[1] == "") == (found[3] == "") || s.content[found[2]] == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		s.asked[r.Method+" "+strings.Replace(r.URL.RequestURI(), found[2], "X", 1)+" "+strings.Join(r.Header["Accept"], " ")]++
		data := s.content[found[2]]
		if why, ok := s.refused[digest.FromBytes(data)]; ok {
			status, err := strconv.Atoi(why[:3])
			text, errText := json.Marshal(why[4:])
			if errors.Join(err, errText) != nil {
				panic(why)
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errors":[{"code":"X","message":%s}]}`, text)
			return
		}
		w.Header().Set("Content-Type", mediaType(data))
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(data).String())
		_, _ = w.Write(data)
	}
}

const app = "reg.test/org/app:v1"

// everything is a node with all programs, which is installed for all.
func everything(t *testing.T) (*machine, *shelf) {
	n, s := newMachine(t, nil), newShelf(t)
	n.installAll(n.Serve(s))
	return n, s
}

// installAll installs for all programs.
func (n *machine) installAll(address string) {
	n.T.Helper()
	n.Put(map[string]string{
		containerd:        "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
		node.DockerConfig: `{"features":{"containerd-snapshotter":true}}`,
	})
	n.Must(os.Chmod(n.Path(dockerJSON), 0o600))
	o := installOn("reg.test")
	o.For, o.Address = node.ClientNames(), address
	done, err := node.Install(n.T.Context(), n.Root, o)
	n.Must(err)
	n.Put(map[string]string{node.BuildKitConfig: string(done.BuildKit)})
}

// results are the results of a table, each after its program.
func (n *machine) results() map[string]string {
	all := map[string]string{}
	for _, r := range n.table {
		program, _, _ := strings.Cut(r.Program, " ")
		all[program] = r.Result
	}
	return all
}

const pulled = "pulled, 4 manifests of 4 repositories"

// TestDoctorPullsAsEachProgram: each asks as it does, from the one repository, and all get the bundle.
func TestDoctorPullsAsEachProgram(t *testing.T) {
	n, s := everything(t)
	if out := n.look(app); out != "no problem found\n" {
		t.Error(out)
	}
	if len(n.table) != len(node.ClientNames()) {
		t.Errorf("%+v", n.table)
	}
	for program, result := range n.results() {
		if result != pulled {
			t.Errorf("%s: %s", program, result)
		}
	}
	const types, containers = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*",
		"application/vnd.oci.image.manifest.v1+json application/vnd.docker.distribution.manifest.v2+json application/vnd.docker.distribution.manifest.v1+prettyjws application/vnd.docker.distribution.manifest.v1+json application/vnd.docker.distribution.manifest.list.v2+json application/vnd.oci.image.index.v1+json"
	want := map[string]int{
		"HEAD /v2/org/app/manifests/X?ns=reg.test " + types:                                       5,
		"GET /v2/org/app/manifests/X?ns=reg.test application/vnd.oci.image.index.v1+json, */*":    10,
		"GET /v2/org/app/manifests/X?ns=reg.test application/vnd.oci.image.manifest.v1+json, */*": 10,
		"GET /v2/reg.test/org/app/manifests/X " + containers:                                      4,
	}
	if fmt.Sprint(s.asked) != fmt.Sprint(want) {
		t.Errorf("got\n%v\nwant\n%v", s.asked, want)
	}
	if got := n.results(); n.look("reg.test/org/app@"+digest.FromBytes(s.content["v1"]).String()) != "no problem found\n" || fmt.Sprint(n.results()) != fmt.Sprint(got) {
		t.Errorf("by digest: %v", n.results())
	}
}

// strangers are the certificates of another installation.
func strangers(t *testing.T) config.Certificates {
	set, err := config.NewCertificates("127.0.0.1:1", newMachine(t, nil).now)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestDoctorFindsWhatOneProgramHasWrong: what is wrong with one program, in its own files, is in its row, and in no line
// beside it; the others pull.
func TestDoctorFindsWhatOneProgramHasWrong(t *testing.T) {
	hostsIn := func(program string) string {
		o := installOn("reg.test")
		o.ContainerdCerts = node.Directories{config.ContainerdCerts}
		return o.DirsOf(program)[0] + "/reg.test/"
	}
	stranger := strangers(t).Client
	cut := func(n *machine, path string) { n.Must(os.WriteFile(path, stranger, 0o600)) }
	const fit = "*do not fit each other: containerd's certificate: *"
	type spoiled struct {
		spoil func(n *machine)
		want  string
	}
	for program, tests := range map[string][]spoiled{
		node.Containers: {
			{func(n *machine) {
				_, certificate, key := node.ContainersCertificates(n.address())
				cut(n, n.Path(certificate))
				cut(n, n.Path(key))
			}, fit},
			{func(n *machine) {
				n.Put(map[string]string{registriesconf.DropIn("zzzz.conf"): "[[registry]]\nlocation = \"reg.test\"\n[[registry.mirror]]\nlocation = \"spegel.test\"\n"})
			}, registriesconf.DropIn("zzzz.conf") + ": the first mirror of reg.test is not *"},
		},
		node.BuildKit: {
			{func(n *machine) {
				cut(n, n.one(node.BuildKitCerts+"/*.cert"))
				cut(n, n.one(node.BuildKitCerts+"/*.key"))
			},
				"*gateway and buildkitd do not trust each other by its certificates: *"},
			{func(n *machine) { n.Edit(node.BuildKitConfig, `mirrors = [`, `mirrors = ["mirror.test", `) },
				"*: the mirror mirror.test is before the gateway, so that buildkitd asks it first"},
		},
		node.Docker: {{func(n *machine) { n.Put(map[string]string{node.DockerConfig: `{"storage-driver":"overlay2"}`}) },
			"*: Docker Engine uses its graphdriver image store, which does not ask the gateway"}},
		node.Containerd: {{func(n *machine) { n.Must(os.Remove(n.Path(containerd))) }, "*registry.config_path is not set: *"}},
		node.K3s:        nil,
		node.RKE2:       nil,
	} {
		if program != node.Containers && program != node.BuildKit {
			hosts := hostsIn(program)
			tests = append(tests,
				spoiled{func(n *machine) { cut(n, n.one(hosts+"nested-*.pem")) }, fit},
				spoiled{func(n *machine) {
					old, err := config.NewCertificates(n.address(), n.now.AddDate(-2, 0, 0))
					n.Must(err)
					n.Must(os.WriteFile(n.one(hosts+"nested-*-ca.pem"), old.CA, 0o644))
					n.Must(os.WriteFile(n.one(hosts+"nested-*.pem"), old.Client, 0o600))
				}, "the certificates that " + hosts + "hosts.toml names expired on *"},
				spoiled{func(n *machine) { n.Must(os.Remove(n.one(hosts + "nested-*.pem"))) }, hosts + "nested-*.pem, which " + hosts + "hosts.toml needs: no such file or directory"},
				spoiled{func(n *machine) { n.Edit(hosts+"hosts.toml", "[host", "[host.\"https://mirror.test\"]\n[host") },
					hosts + `hosts.toml: [host."https://*"] is not the first host, so that ` + program + ` tries others before it`},
				spoiled{func(n *machine) { n.Must(os.Remove(n.Path(hosts + "hosts.toml"))) }, hosts + "hosts.toml does not exist, so that " + program + " does not use the gateway for reg.test"})
		}
		for i, test := range tests {
			t.Run(fmt.Sprint(program, i), func(t *testing.T) {
				t.Parallel()
				n, _ := everything(t)
				test.spoil(n)
				out := n.look(app)
				for other, result := range n.results() {
					switch {
					case other != program && result != pulled:
						t.Errorf("%s: %s", other, result)
					case other == program && (!fits(test.want, result) || strings.Count(out, result) != 1):
						t.Errorf("%s: %s\nin\n%s", other, result, out)
					}
				}
				for _, r := range n.table {
					if r.Failed && r.Next == "" {
						t.Errorf("no next step: %+v", r)
					}
				}
				if lines := n.look(); !slices.ContainsFunc(strings.Split(lines, "\n"), func(l string) bool { return fits("problem: "+test.want+"; fix: *", l) }) {
					t.Errorf("without a reference\n%s", lines)
				}
			})
		}
	}
}

// TestDoctorOfGatewayThatTakesNoCertificate: without a reference, too, each program's own is tried at the gateway.
func TestDoctorOfGatewayThatTakesNoCertificate(t *testing.T) {
	n, _ := everything(t)
	n.Must(os.WriteFile(n.Path(config.Default().Gateway.ClientCA), strangers(t).CA, 0o644))
	lines := n.look()
	for _, program := range node.ClientNames() {
		if !strings.Contains(lines, "does not accept "+program+"'s certificate: ") {
			t.Errorf("not of %s:\n%s", program, lines)
		}
	}
	n.look(app)
	for program, result := range n.results() {
		if !strings.Contains(result, "does not accept "+program+"'s certificate: ") {
			t.Errorf("%s: %s", program, result)
		}
	}
}

// TestDoctorLeavesRepositoriesApart: a table of an administrator's for some repositories is not about others, and is no
// problem.
func TestDoctorLeavesRepositoriesApart(t *testing.T) {
	n, _ := everything(t)
	site := registriesconf.DropIn("50-site.conf")
	n.Put(map[string]string{site: "[[registry]]\nlocation = \"reg.test/org\"\n"})
	for _, ref := range []string{app, "reg.test/organ/app:v1"} {
		n.look(ref)
		result, note := n.results()[node.Containers], strings.Join(n.notes, "\n")
		apart := result == site+" has a table for reg.test/org: pulls below that do not go through the gateway"
		if apart != (ref == app) || strings.Contains(note, site) == apart {
			t.Errorf("%s: %s\n%s", ref, result, note)
		}
	}
}

// TestDoctorPullsAsPod: in mode pod each program shows the user's credential that it would have of a pod's: without one
// the gateway asks for it, which is no failure. None is shown to another host.
func TestDoctorPullsAsPod(t *testing.T) {
	n, s := newMachine(t, nil), newShelf(t)
	n.Put(map[string]string{containerd: "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"})
	o := installOn("reg.test")
	o.Mode, o.For = "pod", []string{node.Containerd, node.Containers}
	o.Address = n.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		want := map[bool]string{true: "of-gateway", false: "of-registry"}[strings.HasPrefix(r.URL.Path, "/v2/reg.test/")]
		if user != want || password != "HUNTER2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.ServeHTTP(w, r)
	}))
	n.install(o)
	login := func(host, user, password string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	const asks, mine = "the gateway answers, and asks for the credential of a pod", pulled + ", with the credential of *"
	for name, test := range map[string]struct {
		docker                 string
		containerd, containers string
	}{
		"nobody":     {"{}", asks, asks},
		"registry":   {login("reg.test", "of-registry", "HUNTER2"), mine, asks},
		"gateway":    {login(o.Address, "of-gateway", "HUNTER2"), asks, mine},
		"wrong":      {login("reg.test", "of-registry", "x"), "the gateway answers 401: *", asks},
		"no helper":  {`{"credsStore":"absent"}`, "*docker-credential-absent*", "*docker-credential-absent*"},
		"no gateway": {login("127.0.0.1:1", "of-gateway", "HUNTER2"), asks, asks},
	} {
		n.user = auth.NewStores(auth.StoresOptions{Inline: auth.Secret(test.docker)})
		out := n.look(app)
		for program, want := range map[string]string{node.Containerd: test.containerd, node.Containers: test.containers} {
			if got := n.results()[program]; !fits(want, got) || strings.Contains(fmt.Sprint(n.table), "HUNTER2") {
				t.Errorf("%s: %s: %s", name, program, got)
			}
		}
		bad := strings.Contains(test.containerd, "401") || strings.Contains(test.containerd, "absent")
		if bad == (out == "no problem found\n") {
			t.Errorf("%s: %s", name, out)
		}
	}
	if len(n.table) != 2 || filepath.Base(n.table[0].Way) != "certs.d" {
		t.Errorf("%+v", n.table)
	}
}
