//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// README.md and the guides, whose commands are run as they stand there, on private machines.

// robot may do everything at the registries of the documents.
var robot = login{"robot", "canary-robot"}

// documentScene is what the documents presume: registry.example.com with the bundle org/app:v1, whose members have tags of
// their own, and which says when it was made; mirror.example.com and another registry, which have nothing but images in
// library; robot's token and Docker configuration; and files that the commands name.
type documentScene struct {
	bundle node
	dir    string // where the commands are run
	env    []string
}

// startAt serves at an address of a private machine.
func startAt(t *testing.T, address string) func(*httptest.Server) {
	return func(s *httptest.Server) {
		must(t, s.Listener.Close())
		listener, err := net.Listen("tcp", address)
		must(t, err)
		s.Listener = listener
		s.StartTLS()
	}
}

const documentHosts = `127.0.0.1 localhost bundles.example.com
10.0.0.1 registry.example.com auth.example.com
10.0.0.2 mirror.example.com
10.0.0.3 upstream.example.com
`

func newDocumentScene(t *testing.T) *documentScene {
	t.Helper()
	s := &documentScene{bundle: newApp(t), dir: t.TempDir()}
	rights := map[string][]string{everyRepository: {"pull", "push", "delete"}}
	tokens := serveTokens(t, map[string]user{robot.username: {password: robot.password, rights: rights}}, startAt(t, "10.0.0.1:0"))
	_, port, _ := strings.Cut(strings.TrimPrefix(tokens.realm, "https://"), ":")
	tokens.realm = "https://auth.example.com:" + port
	var ca string
	logins := map[string]login{}
	for address, host := range map[string]string{"10.0.0.1": "registry", "10.0.0.2": "mirror", "10.0.0.3": "upstream"} {
		reg := registryOptions{serve: startAt(t, address+":443"), strict: true, deletes: true}.start(t, tokens)
		if host == "registry" {
			s.fill(t, reg)
		}
		ca, logins[host+".example.com"] = reg.ca, robot
		reg.pushNode(t, "library/nginx", "1.27", newImage(t, amd64, "nginx\n", baseLayer(t)))
	}
	s.configure(t, "/", ca)
	home := t.TempDir()
	config := readText(t, filepath.Join(dockerConfig(t, logins, nil), "config.json"))
	writeFile(t, filepath.Join(home, ".docker/config.json"), config)
	s.env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	s.writeFiles(t)
	s.script(t, `nestctl index create --annotation "org.opencontainers.image.created=$(date -u +%FT%TZ)" registry.example.com/org/app:v1 \
		registry.example.com/org/app/web:v1 registry.example.com/org/app/worker:v1
		crane pull registry.example.com/org/app/worker:v1 web.tar`)
	return s
}

// fill pushes the members of the bundle under tags, as builds do.
func (s *documentScene) fill(t *testing.T, reg *registry) {
	t.Helper()
	for _, m := range s.bundle.members {
		reg.pushNode(t, "org/app/"+m.namespace, "v1", m.node)
	}
	reg.pushNode(t, "org/app/web", "v2", newImage(t, amd64, "web 2\n", baseLayer(t)))
}

// configure lets a machine, whose files are below root, find the documents' hosts, and trust them.
func (s *documentScene) configure(t *testing.T, root, ca string) {
	t.Helper()
	for path, text := range map[string]string{"etc/hosts": documentHosts, "etc/ssl/certs/ca-certificates.crt": ca} {
		must(t, os.Chmod(writeFile(t, filepath.Join(root, path), text), 0o644))
	}
}

// writeFiles writes what the commands read.
func (s *documentScene) writeFiles(t *testing.T) {
	t.Helper()
	certificate, key, _ := strings.Cut(readText(t, serverCertificate(t)), "-----END CERTIFICATE-----\n")
	web := s.bundle.members[0].node.desc
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": s.bundle.desc.MediaType, "manifests": []any{map[string]any{
		"mediaType": web.MediaType, "digest": web.Digest, "size": web.Size, "annotations": map[string]string{childNamespace: "web"}}}})
	must(t, err)
	const manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: %[1]s}\nspec:\n  containers:\n    - {name: %[1]s, image: registry.example.com/org/app/%[1]s:v1}\n"
	for name, text := range map[string]string{
		"token":         robot.password,
		"fullchain.pem": certificate + "-----END CERTIFICATE-----\n",
		"privkey.pem":   key,
		"index.json":    string(index),
		"manual.txt":    "Press the button.\n",
		"deploy/a.yaml": fmt.Sprintf(manifest, "web"),
		"extra.yaml":    fmt.Sprintf(manifest, "worker"),
		"values.yaml":   "image:\n  registry: registry.example.com\n  repository: org/app/web\n  tag: v1\n",
		// In place of what is not here: a chart's images, and a cluster, which keeps what it is given.
		"bin/helm":    "#!/bin/sh\necho 'apiVersion: v1\nkind: Pod\nspec: {containers: [{image: upstream.example.com/library/nginx:1.27}]}'\n",
		"bin/kubectl": "#!/bin/sh\ncase $3 in -) cat ;; *) cat \"$3\" ;; esac >>applied.yaml\n",
	} {
		must(t, os.Chmod(writeFile(t, filepath.Join(s.dir, name), text), 0o600|os.FileMode(len(filepath.Dir(name))/3)<<6)) // programs are in bin
	}
	s.env = append(s.env, "PATH="+s.dir+"/bin:"+os.Getenv("PATH"))
}

// script runs commands, and returns what they printed.
func (s *documentScene) script(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euxc", strings.ReplaceAll(text, "docker.io", "upstream.example.com"))
	cmd.Dir, cmd.Env = s.dir, s.env
	return runCommand(t, cmd)
}

// run runs what a test has to of a document, in order.
func (s *documentScene) run(t *testing.T, document, by string) (out string) {
	t.Helper()
	for _, p := range partsOf(t, document) {
		if documents[document][p.heading] == by {
			out += s.script(t, strings.NewReplacer("make demo", ": make demo", "make test", ": make test").Replace(p.script))
		}
	}
	return out
}

// TestDocuments: the commands of README.md and of the guides work as they stand there, in their order.
func TestDocuments(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "containerd", "ctr", "registry", "crane", "oras")
	privately(t, func(t *testing.T, _ string) {
		daemon := startContainerd(t)
		for document, parts := range documents {
			if !slices.Contains(slices.Collect(maps.Values(parts)), onMachine) {
				continue
			}
			t.Run(document, func(t *testing.T) {
				s := newDocumentScene(t)
				s.env = append(s.env, "CONTAINERD_ADDRESS="+daemon.address)
				out := s.run(t, document, onMachine)
				if document == "README.md" {
					s.checkReadme(t, out)
				}
			})
		}
	})
}

// checkReadme checks that README's transcript has the repositories that are printed, and that what is applied to the
// cluster is pinned.
func (s *documentScene) checkReadme(t *testing.T, out string) {
	t.Helper()
	_, transcript, _ := strings.Cut(readText(t, "../README.md"), "```console\n$ nestctl tree ")
	transcript, _, _ = strings.Cut(transcript, "\n$ ")
	for _, shown := range repositoriesIn(transcript) {
		printed := repositoriesIn(out)
		if len(printed) == 0 || printed[0] != shown {
			t.Fatalf("the transcript has %s, and printed was\n%s", shown, out)
		}
		_, out, _ = strings.Cut(out, shown)
	}
	web := s.bundle.members[0].node.desc.Digest
	if got := readText(t, filepath.Join(s.dir, "applied.yaml")); !strings.Contains(got, "image: registry.example.com/org/app/web@"+web.String()) {
		t.Errorf("applied was\n%s", got)
	}
}

// repositoriesIn are the repositories before the digests of a text.
func repositoriesIn(text string) (found []string) {
	words := strings.Fields(text)
	for _, word := range words {
		if repository, _, pinned := strings.Cut(word, "@sha256:"); pinned {
			found = append(found, repository+"@sha256:")
		}
	}
	return found
}

// TestDocumentsOnNode: the commands of README.md and of the guides for nodes work as they stand there, on a machine with
// systemd. What comes before the gateway is gone pulls the bundle; afterwards the machine's files are what they were.
func TestDocumentsOnNode(t *testing.T) {
	privately(t, func(t *testing.T, _ string) {
		s := newDocumentScene(t)
		daemon, box := startContainerd(t), newBox(t)
		s.configure(t, box.node, readText(t, "/etc/ssl/certs/ca-certificates.crt"))
		writeFile(t, filepath.Join(box.node, "root/.docker/config.json"), readText(t, strings.TrimPrefix(s.env[0], "HOME=")+"/.docker/config.json"))
		writeFile(t, filepath.Join(box.node, "etc/containerd/config.toml"),
			"version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
		box.boot(t)
		s.env = append(s.env, "CONTAINERD_ADDRESS="+daemon.address, "INIT="+box.init)
		before := box.files(t)
		for _, document := range []string{"README.md", "docs/guides/gateway.md"} {
			for _, p := range partsOf(t, document) {
				if documents[document][p.heading] != onNode {
					continue
				}
				s.script(t, `nestctl() { nsenter --target "$INIT" --mount --pid --cgroup --uts --ipc nestctl "$@"; }`+"\n"+
					strings.ReplaceAll(p.script, "/etc/containerd/certs.d", filepath.Join(box.node, "etc/containerd/certs.d")))
				if !strings.Contains(strings.Join(daemon.in("default").images(t), " "), "registry.example.com/org/app:v1") {
					t.Errorf("%s: images %q", document, daemon.in("default").images(t))
				}
				daemon.in("default").ctr(t, "images", "rm", "--sync", "registry.example.com/org/app:v1")
				wantTree(t, box.files(t), before)
			}
		}
	})
}

// files are those of the box's /etc that are not the machine's, and those that it has lost. Directories of the machine stay
// once something was in them, and systemctl removes its own when they are empty.
func (b *box) files(t *testing.T) map[string]string {
	t.Helper()
	files := treeOf(t, filepath.Join(b.node, "etc"))
	maps.DeleteFunc(files, func(path, text string) bool { return strings.HasPrefix(text, "d") || strings.HasSuffix(path, ".wants") })
	return files
}

// awaitFront follows a front that the commands start in the background.
const awaitFront = `trap 'kill $!' EXIT
for i in $(seq 300); do openssl s_client -connect bundles.example.com:443 </dev/null >/dev/null 2>&1 && break; sleep 0.1; done
`

// TestDocumentsFront: Docker's engine pulls through the front that README.md starts.
func TestDocumentsFront(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "dockerd", "docker", "openssl")
	privately(t, func(t *testing.T, _ string) {
		s := newDocumentScene(t)
		config := t.TempDir()
		d := startDocker(t, config)
		for _, program := range []string{"nestctl", "docker"} { // docker uses a helper for credentials that is in PATH
			path, err := exec.LookPath(program)
			must(t, err)
			must(t, os.Symlink(path, filepath.Join(s.dir, "bin", program)))
		}
		s.env = append(s.env, d.env...)
		s.env = append(s.env, "PATH="+s.dir+"/bin:/usr/bin:/bin")
		for _, p := range partsOf(t, "README.md") {
			if documents["README.md"][p.heading] == withFront {
				// The other addresses at this port are the registries'.
				s.script(t, strings.NewReplacer(" &\n", " &\n"+awaitFront, "nestctl serve ", "nestctl serve --listen 127.0.0.1:443 ").Replace(p.script))
			}
		}
		if got := d.run(t, "image", "ls", "--quiet", "bundles.example.com/org/app:v1"); got == "" {
			t.Error("the image is not there")
		}
	})
}
