//go:build linux && kubelet

package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Hosts of docs/kubernetes.md: the registry, its token server, and the front of the registry.
const (
	exampleRegistry = "registry.example.com"
	exampleTokens   = "auth.example.com"
	exampleFront    = "bundles.example.com"
)

// TestCluster: the commands of docs/kubernetes.md, as they stand there, bring an empty node to a running pod of a nested
// index, update the gateway beside pulls, and leave the node as it was. So do those for replicas of nestctl serve, of which
// one is killed. What they presume is made before: the registry, the nodes' credentials in nested/config.json, the front's
// certificate, and rights to push.
func TestCluster(t *testing.T) {
	needs(t, "linux", "root", "nestctl", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "registry", "buildah", "kubelet", "kubectl", "etcd",
		"ptp", "host-local", "crane", "oras", "openssl")
	keepMachine(t)
	privately(t, func(t *testing.T, checkout string) {
		must(t, os.RemoveAll("/var/lib/nested")) // the machine's, which is no empty node then
		a, nodes := startExample(t)
		c := startCluster(t, checkout)
		settings := filepath.Join(checkout, "nested")
		writeFile(t, filepath.Join(settings, "config.json"), nodes)
		etc := treeOf(t, "/etc")

		c.follow(t, "From an empty node to pulling").succeed(t)
		c.checkConfined(t)
		c.checkNodeCredentials(t, a)
		c.checkPinned(t, a, nodes)
		c.checkUpdate(t, a, filepath.Join(settings, "config.toml"))
		c.checkPodCredentials(t, settings)
		if got := strings.Trim(c.kubectl(t, "get", "pods", "--all-namespaces", "--output", "jsonpath={..restartCount}"), " 0"); got != "" {
			t.Errorf("containers were started again: %s", got)
		}
		c.checkRemoval(t)
		c.checkServe(t, a.registry)
		wantTree(t, treeOf(t, "/etc"), etc)
		if _, err := os.Stat("/var/lib/nested"); !os.IsNotExist(err) {
			t.Errorf("/var/lib/nested: %v", err)
		}
	})
}

// startExample starts the registry of the documents, over TLS and with tokens, with a bundle of which each repository has
// a user of its own, and one that one user, team, may pull. Everybody may pull the gateway's image. The Docker
// configuration for the nodes comes with it.
func startExample(t *testing.T) (*app, string) {
	t.Helper()
	program, err := pauseProgram()
	must(t, err)
	bundle := exampleBundle(t, newLayer(t, "hello", program))
	users := userPerRepository(repositories("org/app", bundle)...)
	users[""] = user{rights: pulls("tools/nested")}
	users["admin"] = user{password: "canary-admin", rights: pushes("tools/nested")}
	users[frontUser.username] = user{password: frontUser.password, rights: pushes(everyRepository)}
	users["team"] = user{password: "canary-team", rights: pulls(repositories("org/team", bundle)...)}

	// At an address that pods reach, too.
	serveAt := func(port string) func(*httptest.Server) {
		return func(s *httptest.Server) {
			must(t, s.Listener.Close())
			listener, err := net.Listen("tcp", net.JoinHostPort(privateNode, port))
			must(t, err)
			s.Listener = &limitedListener{listener, &limiter{perSecond: 60 << 20}} // for transfers to be cut off in
			s.StartTLS()
		}
	}
	tokens := serveTokens(t, users, serveAt("0"))
	tokens.realm = strings.Replace(tokens.realm, privateNode, exampleTokens, 1)
	reg := registryOptions{serve: serveAt("443")}.start(t, tokens)
	reg.host = exampleRegistry
	writeFile(t, "/etc/hosts", fmt.Sprintf("127.0.0.1 localhost %s\n%s node %s %s\n", exampleFront, privateNode, exampleRegistry, exampleTokens))
	writeFile(t, "/etc/ssl/certs/ca-certificates.crt", reg.ca)
	for _, path := range []string{"/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"} {
		must(t, os.Chmod(path, 0o644))
	}
	a := publishAt(t, reg, bundle)
	a.pushNode(t, "org/team", "v1", exampleBundle(t, newLayer(t, "hello", program)))
	return a, readText(t, filepath.Join(dockerConfig(t, a.logins, nil), "config.json"))
}

func exampleBundle(t *testing.T, base layer) node {
	return newBundle(t, member{"amd64", newImage(t, amd64, "", base)}, member{"arm64", newImage(t, arm64, "", base)})
}

// checkNodeCredentials: a pod runs for which each repository was asked with its own credential.
func (c *cluster) checkNodeCredentials(t *testing.T, a *app) {
	t.Helper()
	a.tokens.requests()
	c.runApp(t, "app", a.ref)
	c.awaitApp(t, "app", running)
	asked := a.tokens.requests()
	for _, request := range asked {
		if repository, _, _ := parseScope(request.Scopes[0]); request.User != loginOf(repository).username {
			t.Errorf("token request %+v", request)
		}
	}
	if len(asked) == 0 {
		t.Error("nobody asked for a token")
	}
}

// checkPinned: what README.md says about Kubernetes makes a pod whose image is the member of the bundle, by digest.
func (c *cluster) checkPinned(t *testing.T, a *app, nodes string) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "config.json"), nodes)
	writeFile(t, filepath.Join(dir, "deploy/pod.yaml"), "apiVersion: v1\nkind: Pod\nmetadata: {name: pinned}\nspec:\n  containers: [{name: app, image: "+exampleRegistry+"/org/app/amd64:latest}]\n")
	for _, p := range partsOf(t, "README.md") {
		if p.heading == "Kubernetes" {
			cmd := exec.CommandContext(t.Context(), "sh", "-euc", p.script)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "REGISTRY_AUTH_FILE="+filepath.Join(dir, "config.json"))
			runCommand(t, cmd)
		}
	}
	want := exampleRegistry + "/org/app/amd64@" + a.bundle.members[0].node.desc.Digest.String()
	if got := c.kubectl(t, "get", "pod", "pinned", "--output", "jsonpath={.spec.containers[0].image}"); got != want {
		t.Errorf("the pod's image is %s, want %s", got, want)
	}
	c.kubectl(t, "delete", "pod", "pinned")
}

// checkUpdate changes the gateway's configuration, and pulls bundles that containerd has nothing of while the pods are
// replaced.
func (c *cluster) checkUpdate(t *testing.T, a *app, config string) {
	t.Helper()
	pods := c.kubectl(t, "--namespace", "nested-system", "get", "pods", "--output", "name")
	writeFile(t, config, readText(t, config)+"\n[log]\nlevel = \"debug\"\n")
	update := c.follow(t, "Updates")
	base := baseLayer(t)
	pulls := 0
	for ; !update.ended(); pulls++ {
		tag := fmt.Sprint("during", pulls)
		a.pushNode(t, "org/app", tag, exampleBundle(t, base))
		c.pullHosts(t, transfer, certsDirs["containerd"], a.registry.ref("org/app", tag))
	}
	update.succeed(t)
	if pulls < 5 || c.kubectl(t, "--namespace", "nested-system", "get", "pods", "--output", "name") == pods {
		t.Errorf("%d pulls during an update of %s", pulls, pods)
	}
}

// checkPodCredentials turns to the pods' own secrets. One without a secret gets nothing, although what it names is there.
func (c *cluster) checkPodCredentials(t *testing.T, settings string) {
	t.Helper()
	for file, change := range map[string]*strings.Replacer{
		"config.toml":        strings.NewReplacer(`mode = "node"`, `mode = "pod"`, "[credentials]\ndocker_config =", "# docker_config ="),
		"kustomization.yaml": strings.NewReplacer("components:", "# components:"),
	} {
		file = filepath.Join(settings, file)
		writeFile(t, file, change.Replace(readText(t, file)))
	}
	c.follow(t, "Updates").succeed(t)

	const image = exampleRegistry + "/org/team:v1"
	c.kubectl(t, "create", "secret", "docker-registry", "team",
		"--docker-server="+exampleRegistry, "--docker-username=team", "--docker-password=canary-team")
	c.runApp(t, "with", image, "team")
	c.awaitApp(t, "with", running)
	c.runApp(t, "without", image)
	c.awaitApp(t, "without", "ErrImagePull")
}

// checkRemoval: where somebody has edited a file since, removal waits and names it.
func (c *cluster) checkRemoval(t *testing.T) {
	t.Helper()
	hosts := filepath.Join(certsDirs["containerd"], exampleRegistry, "hosts.toml")
	text := readText(t, hosts)
	writeFile(t, hosts, text+"# mine\n")
	removal := c.follow(t, "Removal")
	await(t, hosts+" is named", 30*time.Second, func() bool {
		logs := c.tryKubectl(t, "--namespace", "nested-system", "logs", "daemonset/nested-gateway", "--container", "uninstall")
		return strings.Contains(logs, hosts)
	})
	if removal.ended() {
		t.Error("removal has not waited")
	}
	if got := readText(t, hosts); got != text+"# mine\n" {
		t.Errorf("%s became\n%s", hosts, got)
	}
	writeFile(t, hosts, text)
	removal.succeed(t)
}

// checkConfined checks what the kernel knows of the DaemonSet's containers.
func (c *cluster) checkConfined(t *testing.T) {
	t.Helper()
	list, err := c.runtimeService.ListContainers(t.Context(), &runtime.ListContainersRequest{Filter: &runtime.ContainerFilter{
		State: &runtime.ContainerStateValue{State: runtime.ContainerState_CONTAINER_RUNNING},
	}})
	must(t, err)
	var names []string
	for _, container := range list.Containers {
		name := container.Metadata.Name
		names = append(names, name)
		proc := filepath.Join("/proc", fmt.Sprint(c.processOf(t, container.Id)))
		for field, want := range map[string]string{
			"CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapBnd": "0000000000000000",
			"NoNewPrivs": "1", "Seccomp": "2", "Uid": "0\t0\t0\t0",
		} {
			if _, got, _ := strings.Cut(readText(t, filepath.Join(proc, "status")), "\n"+field+":\t"); !strings.HasPrefix(got, want+"\n") {
				t.Errorf("%s: %s is %.40q", name, field, got)
			}
		}
		if got := writable(t, filepath.Join(proc, "mountinfo")); !slices.Equal(got, writes[name]) {
			t.Errorf("%s can write %q", name, got)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"gateway", "keep"}) {
		t.Errorf("containers %q", names)
	}
}

// processOf is the process of a container.
func (c *cluster) processOf(t *testing.T, container string) int {
	t.Helper()
	status, err := c.runtimeService.ContainerStatus(t.Context(), &runtime.ContainerStatusRequest{ContainerId: container, Verbose: true})
	must(t, err)
	var info struct{ Pid int }
	must(t, json.Unmarshal([]byte(status.Info["info"]), &info))
	return info.Pid
}

// writes is where containers of the DaemonSet can write, besides what every container has.
var writes = map[string][]string{"gateway": {"/var/lib/nested"}, "keep": {"/host/etc"}}

// writable are the mounts of a process that can be written, but those that every container has.
func writable(t *testing.T, mountinfo string) []string {
	t.Helper()
	var points []string
	for line := range strings.Lines(readText(t, mountinfo)) {
		fields := strings.Fields(line)
		point, options := fields[4], strings.Split(fields[5], ",")
		_, kernel, _ := strings.Cut(point, "/")
		kernel, _, _ = strings.Cut(kernel, "/")
		if slices.Contains(options, "rw") && !slices.Contains([]string{"proc", "sys", "dev"}, kernel) && point != "/etc/hosts" {
			points = append(points, point)
		}
	}
	return points
}
