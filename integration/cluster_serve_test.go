//go:build linux && kubelet

package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const frontNamespace = "nested-serve"

// frontUser may pull and push everything, through the front too.
var frontUser = login{"dave", "canary-dave"}

// frontNames lets pods know names that the test's cluster, which has no name server, knows from the node's /etc/hosts.
const frontNames = `
patches:
  - target: {kind: Deployment}
    patch: |
      - op: add
        path: /spec/template/spec/hostAliases
        value: [{ip: ` + privateNode + `, hostnames: [` + exampleRegistry + `, ` + exampleTokens + `]}]
`

// checkServe: nestctl serve comes up with two replicas. One is killed while clients pull and push, whose work succeeds all
// the same, and another one takes its place. Nothing is left when the namespace is deleted.
func (c *cluster) checkServe(t *testing.T, reg *registry) {
	t.Helper()
	before := c.traces(t)
	r := &replicas{host: exampleFront, registry: reg, certificate: newFrontCertificate(t, exampleFront), who: frontUser}
	writeFile(t, filepath.Join(c.checkout, "front/bundles.pem"), r.certificate.file)
	c.follow(t, "nestctl serve", "\nimages:", frontNames+"images:").succeed(t)

	r.balancer = c.balance(t, "127.0.0.1:443", frontNamespace, "nested-serve")
	await(t, "two replicas", time.Minute, func() bool { return len(r.balanced()) == 2 })
	victim := r.balanced()[0]
	r.checkKill(t, victim, c.killing(t, victim))
	await(t, "two replicas again", time.Minute, func() bool { return len(r.balanced()) == 2 && !slices.Contains(r.balanced(), victim) })
	if got := c.kubectl(t, "--namespace", frontNamespace, "get", "deployment", "nested-serve", "--output", "jsonpath={.status.readyReplicas}"); got != "2" {
		t.Errorf("%q replicas are ready", got)
	}

	c.kubectl(t, "delete", "namespace", frontNamespace)
	const kinds = "all,configmaps,endpointslices,networkpolicies,poddisruptionbudgets,serviceaccounts,namespaces"
	if left := c.kubectl(t, "get", kinds, "--all-namespaces", "--selector", "app.kubernetes.io/name=nested-serve", "--output", "name"); left != "" {
		t.Errorf("left in the cluster: %s", left)
	}
	await(t, "nothing is left on the node", time.Minute, func() bool {
		return !slices.ContainsFunc(c.traces(t), func(trace string) bool { return !slices.Contains(before, trace) })
	})
}

// killing is what kills the replica at an address: its process at once, and its pod, for another one to be started.
func (c *cluster) killing(t *testing.T, address string) func() {
	t.Helper()
	ip, _, err := net.SplitHostPort(address)
	must(t, err)
	pod := c.kubectl(t, "--namespace", frontNamespace, "get", "pods", "--output", fmt.Sprintf("jsonpath={.items[?(@.status.podIP==%q)].metadata.name}", ip))
	list, err := c.runtimeService.ListContainers(t.Context(), &runtime.ListContainersRequest{Filter: &runtime.ContainerFilter{
		LabelSelector: map[string]string{"io.kubernetes.pod.namespace": frontNamespace, "io.kubernetes.pod.name": pod},
	}})
	must(t, err)
	if len(list.Containers) != 1 {
		t.Fatalf("pod %q at %s has the containers %v", pod, ip, list.Containers)
	}
	process := c.processOf(t, list.Containers[0].Id)
	return func() {
		must(t, syscall.Kill(process, syscall.SIGKILL))
		c.kubectl(t, "--namespace", frontNamespace, "delete", "pod", pod, "--grace-period=0", "--force")
	}
}

// balance starts a balancer before a Service, in place of kube-proxy: it follows the Service's EndpointSlices.
func (c *cluster) balance(t *testing.T, address, namespace, service string) *balancer {
	t.Helper()
	b := startBalancer(t, address)
	cmd := exec.CommandContext(t.Context(), "kubectl", "--namespace", namespace, "get", "endpointslices",
		"--selector", discoveryv1.LabelServiceName+"="+service, "--watch", "--output", "json")
	changes, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	done := make(chan struct{})
	t.Cleanup(func() { <-done }) // t.Context has ended it
	go func() {
		defer close(done)
		for decoder := json.NewDecoder(changes); ; {
			var slice discoveryv1.EndpointSlice
			if decoder.Decode(&slice) != nil {
				break
			}
			b.balance(readyIn(slice))
		}
		_ = cmd.Wait() // it was killed
	}()
	return b
}

// readyIn are the addresses of the endpoints that are ready, at their only port.
func readyIn(slice discoveryv1.EndpointSlice) (addresses []string) {
	for _, endpoint := range slice.Endpoints {
		if ready := endpoint.Conditions.Ready; ready != nil && *ready {
			addresses = append(addresses, net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*slice.Ports[0].Port))))
		}
	}
	return addresses
}

// traces are what pods have of a node while they are there: network interfaces and directories.
func (c *cluster) traces(t *testing.T) (all []string) {
	t.Helper()
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, i := range interfaces {
		all = append(all, i.Name)
	}
	dirs, err := filepath.Glob(filepath.Join(c.dir, "root/pods/*"))
	must(t, err)
	return append(all, dirs...)
}
