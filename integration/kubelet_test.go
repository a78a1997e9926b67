//go:build linux && kubelet

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestKubelet: a kubelet on stock containerd behind the gateway runs a pod of an index whose platforms are in child
// repositories.
func TestKubelet(t *testing.T) {
	bundle := func(t *testing.T) node {
		program, err := pauseProgram()
		must(t, err)
		base := newLayer(t, "hello", program)
		return newBundle(t, member{"amd64", newImage(t, amd64, "", base)}, member{"arm64", newImage(t, arm64, "", base)})
	}
	// Of one user, since the kubelet gives one credential for a pull.
	publishFor := func(t *testing.T, rights ...string) *app {
		users := map[string]user{"pod": {password: "canary-pod", rights: pulls(rights...)}}
		return publishAt(t, startRegistry(t, startTokenServer(t, users)), bundle(t))
	}

	t.Run("node's credentials", func(t *testing.T) {
		a := publish(t, bundle(t))
		k := startKubelet(t, a, "node", t.TempDir())
		k.awaitContainer(t, running)
		for _, asked := range a.tokens.requests() {
			if repository, _, _ := parseScope(asked.Scopes[0]); asked.User != loginOf(repository).username {
				t.Errorf("token request %+v", asked)
			}
		}
	})
	t.Run("provider's credential", func(t *testing.T) {
		a := publishFor(t, "org/app", "org/app/amd64")
		k := startKubelet(t, a, "pod", dockerConfig(t, map[string]login{a.host + "/org/app": {"pod", "canary-pod"}}, nil))
		k.awaitContainer(t, running)
		for _, asked := range a.tokens.requests() {
			if asked.Grant != "anonymous" && asked.User != "pod" {
				t.Errorf("token request %+v", asked)
			}
		}
	})
	t.Run("provider's wrong credential", func(t *testing.T) {
		a := publishFor(t, "org/app")
		k := startKubelet(t, a, "pod", dockerConfig(t, map[string]login{a.host + "/org/app": {"pod", "canary-pod"}}, nil))
		k.awaitContainer(t, backOff)
		if events := k.events(t, "Failed"); !strings.Contains(events, "org/app/amd64") {
			t.Errorf("no event names the child repository:\n%s", events)
		}
	})
}

// kubelet is a kubelet without an API server, which runs one static pod.
type kubelet struct {
	*process
	readOnly string // address
}

// startKubelet starts a gateway before an app's registry, containerd, and a kubelet that is to run the app as a pod. The
// kubelet asks nestctl for credentials, which looks for them in the Docker configuration of a directory.
func startKubelet(t *testing.T, a *app, mode, docker string) *kubelet {
	t.Helper()
	needs(t, "linux", "root", "kubelet")
	keepMachine(t)
	dir := tempDir(t)
	parent := cgroup(t, filepath.Base(dir))
	g := startGateway(t, a, mode)
	node := startCRI(t, criOptions{certsD: g.certsD})
	t.Cleanup(func() { node.removePods(t) })

	nestctl, err := exec.LookPath("nestctl")
	must(t, err)
	provider := writeJSON(t, filepath.Join(dir, "provider.json"), map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1",
		"kind":       "CredentialProviderConfig",
		"providers": []any{map[string]any{
			"name":                 filepath.Base(nestctl),
			"apiVersion":           "credentialprovider.kubelet.k8s.io/v1",
			"matchImages":          []string{a.host},
			"defaultCacheDuration": "0s",
			"args":                 []string{"credential-provider", "--docker-config", docker},
		}},
	})
	writeJSON(t, filepath.Join(dir, "static/pod.json"), map[string]any{
		"apiVersion": "v1",
		"kind":       "Pod",
		"metadata":   map[string]any{"name": "pod", "namespace": "default"},
		"spec": map[string]any{
			"hostNetwork": true, // needs no CNI
			"containers":  []any{map[string]any{"name": "container", "image": a.ref}},
		},
	})
	k := &kubelet{readOnly: freeAddress(t)}
	settings := kubeletSettings(t, dir, node, parent)
	settings["staticPodPath"] = filepath.Join(dir, "static")
	settings["readOnlyPort"] = port(t, k.readOnly)
	settings["logging"] = map[string]any{"verbosity": 2, "vmodule": []any{map[string]any{"filePattern": "event", "verbosity": 3}}}
	config := writeJSON(t, filepath.Join(dir, "config.json"), settings)
	k.process = start(t, "kubelet", "--config", config, "--root-dir", filepath.Join(dir, "root"), "--cert-dir", filepath.Join(dir, "pki"),
		"--image-credential-provider-config", provider, "--image-credential-provider-bin-dir", filepath.Dir(nestctl))
	k.await(t, func() bool { _, err := k.pods(t); return err == nil })
	return k
}

// kubeletSettings are the configuration of a kubelet that leaves the machine as it is, with a directory and a parent
// cgroup of its own.
func kubeletSettings(t *testing.T, dir string, node *cri, parent string) map[string]any {
	t.Helper()
	return map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"containerRuntimeEndpoint": "unix://" + node.address,
		"podLogsDir":               filepath.Join(dir, "pods"),
		"volumePluginDir":          filepath.Join(dir, "volume"),

		"address":        "127.0.0.1",
		"port":           port(t, freeAddress(t)),
		"healthzPort":    0,
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},

		// Any machine will do, and is to stay as it is.
		"failSwapOn":             false,
		"failCgroupV1":           false,
		"cgroupDriver":           "cgroupfs",
		"cgroupRoot":             parent,
		"enforceNodeAllocatable": []string{},
		"oomScoreAdj":            0,
		"makeIPTablesUtilChains": false,
		"evictionHard":           map[string]string{"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
	}
}

func port(t *testing.T, address string) json.Number {
	t.Helper()
	_, number, found := strings.Cut(address, ":")
	if !found {
		t.Fatalf("no port in %s", address)
	}
	return json.Number(number)
}

func writeJSON(t *testing.T, path string, document any) string {
	t.Helper()
	text, err := json.Marshal(document)
	must(t, err)
	return writeFile(t, path, string(text))
}

// podList is what the kubelet says of its pods.
type podList struct {
	Items []struct {
		Status struct {
			Phase             string
			ContainerStatuses []struct {
				State struct {
					Running *struct{}
					Waiting *struct{ Reason, Message string }
				}
			}
		}
	}
}

func (k *kubelet) pods(t *testing.T) (list podList, err error) {
	t.Helper()
	status, body, err := getOver(t, &http.Transport{DisableKeepAlives: true}, "http://"+k.readOnly+"/pods")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &list)
	}
	return list, err
}

const (
	running = "Running"
	backOff = "ImagePullBackOff"
)

// awaitContainer waits until the pod's container runs, or its image is not pulled for now.
func (k *kubelet) awaitContainer(t *testing.T, want string) {
	t.Helper()
	await(t, "the container is "+want, 60*time.Second, func() bool {
		if k.ended() {
			t.Fatalf("the kubelet ended: %s", k.cmd.ProcessState)
		}
		list, err := k.pods(t)
		must(t, err)
		if len(list.Items) != 1 || len(list.Items[0].Status.ContainerStatuses) != 1 {
			return false
		}
		pod := list.Items[0].Status
		got, state := pod.Phase, pod.ContainerStatuses[0].State
		if state.Running == nil && state.Waiting != nil {
			got = state.Waiting.Reason
		}
		if got != want && (got == running || got == backOff) {
			t.Fatalf("the container is %s, not %s: %+v", got, want, state.Waiting)
		}
		return got == want
	})
}

// entries separates the kubelet's log, of which an entry may have several lines.
var entries = regexp.MustCompile(`(?m)^[IWEF]\d{4} `)

// events are entries of the log that tell of events, of which there is no other trace without an API server.
func (k *kubelet) events(t *testing.T, reason string) string {
	t.Helper()
	all := entries.Split(readText(t, k.log), -1)
	return strings.Join(slices.DeleteFunc(all, func(entry string) bool {
		return !strings.Contains(entry, `"Event occurred"`) || !strings.Contains(entry, ` reason="`+reason+`" `)
	}), "")
}

// removePods ends and removes all pods, also when t.Context is done.
func (c *cri) removePods(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	list, err := c.runtimeService.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{})
	if err != nil {
		t.Error(err)
	}
	for _, pod := range list.GetItems() {
		if _, err := c.runtimeService.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: pod.Id}); err != nil {
			t.Error(err)
		}
		if _, err := c.runtimeService.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: pod.Id}); err != nil {
			t.Error(err)
		}
	}
}

// cgroup makes a cgroup in every hierarchy, for all of the kubelet's own, and returns its name as the kubelet takes it.
func cgroup(t *testing.T, name string) string {
	t.Helper()
	roots := []string{"/sys/fs/cgroup/cgroup.procs"}
	if _, err := os.Stat(roots[0]); err != nil { // version 1
		roots, err = filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
		must(t, err)
	}
	for _, root := range roots {
		root = filepath.Dir(root)
		info, err := os.Lstat(root)
		must(t, err)
		if !info.IsDir() {
			continue // a link to a hierarchy of several controllers
		}
		must(t, os.Mkdir(filepath.Join(root, name), 0o755))
		t.Cleanup(func() { removeCgroup(t, filepath.Join(root, name)) })
	}
	return "/" + name
}
