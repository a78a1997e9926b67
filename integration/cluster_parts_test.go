//go:build linux && kubelet

package integration

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// cluster is one of one node, on a private machine.
type cluster struct {
	*cri
	dir      string // its own
	admin    string // a kubeconfig
	checkout string // where the commands of documents are run
}

const apiServer = "https://localhost:6443"

// startCluster starts etcd, the control plane, and a kubelet on containerd, and waits until the node is ready. From then
// on the test's kubectl and buildah are the administrator's.
func startCluster(t *testing.T, checkout string) *cluster {
	t.Helper()
	c := &cluster{dir: tempDir(t), checkout: checkout}
	parent := cgroup(t, filepath.Base(c.dir))
	c.startControlPlane(t)
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(dockerConfig(t, map[string]login{exampleRegistry: {"admin", "canary-admin"}}, nil), "config.json"))
	t.Setenv("CONTAINERS_STORAGE_CONF", writeFile(t, filepath.Join(c.dir, "storage.conf"),
		fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = \"%[1]s/graph\"\nrunroot = \"%[1]s/run\"\n", c.dir)))

	c.cri = startCRI(t, criOptions{certsD: certsDirs["containerd"], more: networkPlugins(t)})
	t.Cleanup(func() { c.removePods(t) })
	writeFile(t, filepath.Join(c.cri.dir, "cni/pods.conflist"), podNetwork)
	settings := kubeletSettings(t, c.dir, c.cri, parent)
	settings["address"] = privateNode
	settings["authentication"] = map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}} // kubectl logs
	kubelet := start(t, "kubelet", "--config", writeJSON(t, filepath.Join(c.dir, "kubelet.json"), settings),
		"--root-dir", filepath.Join(c.dir, "root"), "--cert-dir", filepath.Join(c.dir, "pki"),
		"--kubeconfig", c.admin, "--hostname-override", "node", "--node-ip", privateNode)
	kubelet.await(t, func() bool {
		return strings.HasPrefix(c.tryKubectl(t, "get", "nodes", "--output", "name"), "node/node")
	})
	c.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "node/node")
	c.kubectl(t, "wait", "--for=create", "--timeout=60s", "serviceaccount/default")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.tryKubectl(t, "get", "pods,events", "--all-namespaces"))
		}
	})
	return c
}

// startControlPlane starts all but the node. Everybody is the administrator: rights are not what is tested.
func (c *cluster) startControlPlane(t *testing.T) {
	t.Helper()
	const store = "http://127.0.0.1:2379"
	start(t, "etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", store, "--advertise-client-urls", store)

	key := c.newKey(t)
	token := rand.Text()
	tokens := writeFile(t, filepath.Join(c.dir, "tokens.csv"), token+",admin,admin,system:masters\n")
	certificates := filepath.Join(c.dir, "apiserver")
	api := start(t, "kube-apiserver", "--etcd-servers", store, "--cert-dir", certificates, "--advertise-address", privateNode,
		"--service-cluster-ip-range", "10.96.0.0/24", "--authorization-mode", "RBAC", "--token-auth-file", tokens,
		"--service-account-issuer", apiServer, "--service-account-key-file", key, "--service-account-signing-key-file", key)
	ca := filepath.Join(certificates, "apiserver.crt")
	c.admin = writeJSON(t, filepath.Join(c.dir, "admin.json"), map[string]any{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": "admin",
		"contexts":        []any{map[string]any{"name": "admin", "context": map[string]any{"cluster": "cluster", "user": "admin"}}},
		"clusters":        []any{map[string]any{"name": "cluster", "cluster": map[string]any{"server": apiServer, "certificate-authority": ca}}},
		"users":           []any{map[string]any{"name": "admin", "user": map[string]any{"token": token}}},
	})
	t.Setenv("KUBECONFIG", c.admin)
	api.await(t, func() bool { return c.tryKubectl(t, "get", "--raw", "/readyz") == "ok" })
	start(t, "kube-controller-manager", "--kubeconfig", c.admin, "--leader-elect=false",
		"--service-account-private-key-file", key, "--root-ca-file", ca, "--horizontal-pod-autoscaler-sync-period=1s")
	start(t, "kube-scheduler", "--kubeconfig", c.admin, "--leader-elect=false")
}

// newKey makes the key that signs tokens of service accounts.
func (c *cluster) newKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return writeFile(t, filepath.Join(c.dir, "accounts.pem"), string(pem.EncodeToMemory(block)))
}

// podNetwork gives each pod a link to the node, and an address that the node reaches: not one of 10.0.0.0/8, which are all
// the loopback interface's (startLoopback).
const podNetwork = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp",
	"ipam": {"type": "host-local", "ranges": [[{"subnet": "172.16.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`

// networkPlugins ends containerd's configuration with where the plugins of podNetwork are.
func networkPlugins(t *testing.T) string {
	t.Helper()
	plugin, err := exec.LookPath("ptp")
	must(t, err)
	return fmt.Sprintf("  bin_dirs = [%q]\n  use_internal_loopback = true\n", filepath.Dir(plugin))
}

// follow starts the commands of a section of docs/kubernetes.md, in which some text is replaced.
func (c *cluster) follow(t *testing.T, section string, oldnew ...string) *process {
	t.Helper()
	script := docScript(t, "kubernetes.md", section)
	for pair := range slices.Chunk(oldnew, 2) {
		if !strings.Contains(script, pair[0]) {
			t.Fatalf("%s: nothing is %q", section, pair[0])
		}
		script = strings.ReplaceAll(script, pair[0], pair[1])
	}
	return start(t, "sh", "-euc", "cd "+c.checkout+"\n"+script)
}

// succeed waits until the process ends, which has to be well.
func (p *process) succeed(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("it goes on: %s", p.cmd)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("exit status %d: %s", code, p.cmd)
	}
}

func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return runCommand(t, exec.CommandContext(t.Context(), "kubectl", args...))
}

// tryKubectl returns what kubectl wrote, errors too. It also works when t.Context is done.
func (c *cluster) tryKubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := exec.Command("kubectl", append([]string{"--request-timeout=5s"}, args...)...).CombinedOutput() // the error is in it
	return string(out)
}

// runApp lets a pod run an image, with pull secrets of its namespace.
func (c *cluster) runApp(t *testing.T, name, image string, secrets ...string) {
	t.Helper()
	named := []any{}
	for _, secret := range secrets {
		named = append(named, map[string]string{"name": secret})
	}
	file := writeJSON(t, filepath.Join(c.dir, name+".json"), map[string]any{
		"apiVersion": "v1",
		"kind":       "Pod",
		"metadata":   map[string]any{"name": name},
		"spec": map[string]any{
			"automountServiceAccountToken":  false,
			"terminationGracePeriodSeconds": 0,
			"imagePullSecrets":              named,
			"containers":                    []any{map[string]any{"name": "container", "image": image}},
		},
	})
	c.kubectl(t, "apply", "--filename", file)
}

// awaitApp waits until a pod is in a phase, or its container waits for a reason.
func (c *cluster) awaitApp(t *testing.T, name, want string) {
	t.Helper()
	await(t, name+" is "+want, 60*time.Second, func() bool {
		got := c.kubectl(t, "get", "pod", name, "--output", "jsonpath={.status.phase} {.status.containerStatuses[*].state.waiting.reason}")
		if got != want+" " && strings.HasPrefix(got, running) {
			t.Fatalf("%s runs", name)
		}
		return slices.Contains(strings.Fields(got), want)
	})
}
