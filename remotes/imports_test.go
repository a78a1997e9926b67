// Package remotes_test keeps the direction of imports: auth knows nothing of
// containerd, registry and nested stand on auth side by side, the transport on
// both, the gateway on that, the configuration on the gateway, the plugin on the
// configuration, and containerd's client, which brings most of containerd with it, is for programs.
package remotes_test

import (
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module     = "github.com/nestedoci/nested/"
	containerd = "github.com/containerd/containerd/v2/"
	trust      = module + "internal/trust"  // who decides about a file; for all that read files of a node
	memory     = module + "internal/memory" // what all requests of a transport may take; for it, and what stands on it
)

// shared is for all: what goroutines share by a key, the policy for requests that failed, how public an address is,
// that hosts do not repeat secrets, and the paths of the API.
var shared = []string{module + "internal/flight", module + "internal/retry", module + "internal/reach", module + "internal/scrub", module + "internal/apipath"}

// leaves are for the rooms that are named with them.
var leaves = map[string][]string{
	"remotes/auth":                {},
	"remotes/nested":              {module + "internal/oci", module + "internal/sanitize"},
	"remotes/registry":            {module + "internal/oci", module + "internal/sanitize"},
	"remotes/transport":           {module + "internal/oci", module + "internal/sanitize", trust, memory},
	"remotes/transport/find":      {module + "internal/oci", module + "internal/sanitize", trust, memory},
	"remotes/gateway":             {module + "internal/oci", module + "internal/sanitize", trust, memory},
	"remotes/transport/locations": {module + "internal/oci", module + "internal/sanitize", trust},
	"remotes/transport/callers":   {},
	"config":                      {module + "internal/oci", module + "internal/sanitize", trust, memory},
	"plugin":                      {module + "internal/oci", module + "internal/sanitize", trust, memory},
	"internal/oci":                {module + "internal/sanitize", module + "remotes/auth"},
	"internal/terminal":           {module + "internal/sanitize"},
}

func TestImportDirection(t *testing.T) {
	for pkg, forbidden := range map[string][]string{
		"remotes/auth":     {containerd, module + "remotes/registry", module + "remotes/nested", module + "cmd", module + "internal"},
		"remotes/nested":   {containerd + "client", containerd + "core/remotes/docker", module + "cmd", module + "internal", module + "remotes/registry", module + "remotes/transport", module + "remotes/gateway", module + "config"},
		"remotes/registry": {containerd + "client", module + "cmd", module + "internal", module + "remotes/nested", module + "remotes/transport", module + "remotes/gateway", module + "config"},
		"remotes/gateway":  {containerd + "client", module + "cmd", module + "internal", module + "config"},
		// It is for other people's programs, too.
		"remotes/transport":         {containerd + "client", "github.com/prometheus", module + "cmd", module + "internal", module + "config", module + "remotes/gateway"},
		"remotes/transport/find":    {containerd + "client", "github.com/prometheus", module + "cmd", module + "internal", module + "config", module + "remotes/gateway"},
		"remotes/transport/answers": {module, "github.com", "golang.org"},
		"remotes/transport/callers": {containerd, module + "cmd", module + "internal", module + "remotes/registry", module + "remotes/nested"},
		// It is asked by key, and asks nobody.
		"remotes/transport/locations": {containerd + "client", containerd + "core/remotes/docker", module + "cmd", module + "internal", module + "config", module + "remotes/registry", module + "remotes/gateway"},
		// A layout is one of the targets of a bundle, which knows none of them.
		"remotes/bundle":        {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway", module + "remotes/bundle/layout", module + "remotes/bundle/source", module + "remotes/bundle/lock"},
		"remotes/bundle/source": {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway"},
		"remotes/bundle/lock":   {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway", module + "remotes/bundle/layout", module + "remotes/bundle/source"},
		"remotes/bundle/delta":  {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway", module + "remotes/bundle/layout", module + "remotes/bundle/source", module + "remotes/bundle/lock"},
		"remotes/bundle/meter":  {containerd + "client", module + "cmd", module + "internal", module + "config", module + "remotes/auth"},
		"remotes/bundle/layout": {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway"},
		"remotes/bundle/prune":  {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway", module + "remotes/bundle/layout"},
		"config":                {containerd + "client", module + "cmd", module + "internal", module + "plugin"},
		// Leaves.
		"internal/amount":         {module},
		"internal/contextio":      {module},
		"internal/apipath":        {module, "github.com", "golang.org"},
		"internal/flight":         {module, "github.com", "golang.org"},
		"internal/handover":       {module, containerd},
		"internal/completion":     {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway", module + "remotes/transport"},
		"internal/commandline":    {containerd, module + "cmd", module + "config", module + "plugin", module + "remotes"},
		"internal/manual":         {containerd, module + "cmd", module + "config", module + "plugin", module + "remotes"},
		"internal/memory":         {module, "github.com", "golang.org"},
		"internal/oci":            {module, containerd + "client", containerd + "core/remotes"},
		"internal/retry":          {module, containerd},
		"internal/reach":          {module, containerd},
		"internal/registriesconf": {containerd, module + "cmd", module + "config", module + "remotes/registry", module + "remotes/nested", module + "remotes/gateway"},
		"internal/reference":      {module, containerd},
		"internal/scrub":          {module, "github.com", "golang.org"},
		"internal/sanitize":       {module},
		"internal/terminal":       {module, containerd},
		"internal/trust":          {module},
		"internal/usage":          {module},
		// Rooms beside the library.
		"internal/check":  {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway"},
		"internal/ctd":    {module + "cmd", module + "config", module + "plugin", module + "remotes/gateway"},
		"internal/daemon": {containerd + "client", module + "cmd", module + "plugin", module + "remotes/bundle", module + "internal/node", module + "internal/doctor", module + "internal/registrytest"},
		"internal/tree":   {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/gateway"},
		"internal/pin":    {containerd, module + "cmd", module + "config", module + "plugin", module + "remotes/nested", module + "remotes/gateway", module + "remotes/bundle"},
		// It reads, and asks nobody.
		"internal/sources": {containerd, module + "cmd", module + "config", module + "plugin", module + "remotes/nested", module + "remotes/registry", module + "remotes/gateway", module + "remotes/bundle"},
		"internal/login":   {containerd + "client", module + "cmd", module + "config", module + "plugin", module + "remotes/nested", module + "remotes/bundle", module + "remotes/transport", module + "remotes/gateway"},
		// It is given what is to be done with the requests.
		"internal/intercept": {containerd, module + "cmd", module + "config", module + "plugin", module + "remotes"},
		// Who installs does not look, and who looks installs nothing in other ways.
		"internal/node":   {containerd + "client", module + "cmd", module + "plugin", module + "internal/doctor", module + "internal/registrytest"},
		"internal/doctor": {containerd + "client", module + "cmd", module + "plugin", module + "internal/registrytest"},
		"plugin":          {containerd + "client", containerd + "cmd", module + "cmd", module + "internal/registrytest"},
	} {
		for _, dep := range dependencies(t, module+pkg) {
			for _, f := range forbidden {
				if strings.HasPrefix(dep+"/", f) && dep != module+pkg && !slices.Contains(shared, dep) && !slices.Contains(leaves[pkg], dep) {
					t.Errorf("%s must not depend on %s", pkg, dep)
				}
			}
		}
	}
}

// TestImportCost: what a room costs a program that imports it, in packages that are not of the standard library.
func TestImportCost(t *testing.T) {
	for pkg, most := range map[string]int{
		"remotes/auth":   25,
		"remotes/nested": 60, // containerd's docker resolver, and the errors that it makes, would bring eighty more
	} {
		all, _ := listed()
		deps := slices.DeleteFunc(slices.Clone(dependencies(t, module+pkg)), func(dep string) bool { return all.standard[dep] })
		if len(deps) > most {
			t.Errorf("%s costs %d packages, %d at most:\n%s", pkg, len(deps), most, strings.Join(deps, "\n"))
		}
	}
}

// internal/registrytest is linked into a program, the demo.
func TestRegistryWithoutTesting(t *testing.T) {
	if slices.Contains(dependencies(t, module+"internal/registrytest"), "testing") {
		t.Error("internal/registrytest must not depend on testing")
	}
}

// listed asks for all packages at once: each question takes as long as a small test.
var listed = sync.OnceValues(func() (packages, error) {
	out, err := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{.Standard}} {{join .Deps " "}}`, module+"...").Output()
	all := packages{map[string][]string{}, map[string]bool{}}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		all.deps[fields[0]], all.standard[fields[0]] = append(fields[2:], fields[0]), fields[1] == "true"
	}
	return all, err
})

type packages struct {
	deps     map[string][]string // what each package needs, and itself
	standard map[string]bool
}

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(all.deps[pkg]) == 0 {
		t.Fatalf("%s is not in the list of packages", pkg)
	}
	return all.deps[pkg]
}
