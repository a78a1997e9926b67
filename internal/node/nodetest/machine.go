// Package nodetest has the disk of a node for tests, on which there is what is
// on one beside what a test puts there.
package nodetest

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/gateway"
)

// Machine is the root of an image in a test. Paths are those that the node
// knows. What cannot be done ends the test.
type Machine struct {
	T    *testing.T
	Root string
}

// New makes a machine with what is on one, and files of a test.
func New(t *testing.T, files map[string]string) *Machine {
	t.Helper()
	n := &Machine{t, t.TempDir()}
	n.Put(map[string]string{
		"/etc/hostname":                                   "node\n",
		"/etc/containerd/config.toml":                     "version = 3\n",
		"/etc/containerd/certs.d/docker.io/hosts.toml":    "server = \"https://mirror.test\"\n",
		"/etc/systemd/system/containerd.service.d/a.conf": "[Service]\n",
		"/root/.docker/config.json":                       "{}\n",
	})
	n.Put(files)
	return n
}

// Must ends the test when there is an error.
func (n *Machine) Must(err error) {
	n.T.Helper()
	if err != nil {
		n.T.Fatal(err)
	}
}

// Path is where a path of the node is.
func (n *Machine) Path(path string) string { return filepath.Join(n.Root, path) }

// Put writes files, by path.
func (n *Machine) Put(files map[string]string) {
	n.T.Helper()
	for path, text := range files {
		n.Must(os.MkdirAll(filepath.Dir(n.Path(path)), 0o755))
		n.Must(os.WriteFile(n.Path(path), []byte(text), 0o644))
	}
}

// Read reads a file.
func (n *Machine) Read(path string) []byte {
	n.T.Helper()
	data, err := os.ReadFile(n.Path(path))
	n.Must(err)
	return data
}

// Edit replaces text in a file that has it.
func (n *Machine) Edit(path, old, new string) {
	n.T.Helper()
	text := string(n.Read(path))
	if !strings.Contains(text, old) {
		n.T.Fatalf("%s has no %q", path, old)
	}
	n.Must(os.WriteFile(n.Path(path), []byte(strings.Replace(text, old, new, 1)), 0o644))
}

// Tree is every file and directory with its mode, and its bytes or target.
func (n *Machine) Tree() map[string]string {
	n.T.Helper()
	all := map[string]string{}
	n.Must(filepath.WalkDir(n.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += "\n" + string(data)
		}
		all[strings.TrimPrefix(path, n.Root)] = text
		return nil
	}))
	return all
}

// WantTree ends the test when the tree is another one.
func (n *Machine) WantTree(want map[string]string) {
	n.T.Helper()
	if d := Diff(n.Tree(), want); d != nil {
		n.T.Fatal(strings.Join(d, "\n"))
	}
}

// Diff lists what differs between two trees: "- path", "+ path", or "! path"
// with the lines that differ.
func Diff(got, want map[string]string) []string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if text, ok := got[path]; !ok {
			all = append(all, "- "+path)
		} else if text != want[path] {
			all = append(all, fmt.Sprintf("! %s\n%s", path, lines(text, want[path])))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			all = append(all, "+ "+path)
		}
	}
	return all
}

// lines lists the lines that only one text has.
func lines(got, want string) string {
	var all strings.Builder
	for _, side := range [][3]string{{"-", want, got}, {"+", got, want}} {
		there := strings.Split(side[2], "\n")
		for _, line := range strings.Split(side[1], "\n") {
			if !slices.Contains(there, line) {
				fmt.Fprintln(&all, side[0], line)
			}
		}
	}
	return cmp.Or(all.String(), "other order:\n"+got+"\nwant\n"+want)
}

// Serve runs a server as the gateway's, with the certificates of an
// installation, and returns its address, which is known before there are any.
func (n *Machine) Serve(handler http.Handler) string {
	n.T.Helper()
	listener, err := new(net.ListenConfig).Listen(n.T.Context(), "tcp", "127.0.0.1:0")
	n.Must(err)
	g := config.Default().Gateway
	server := gateway.NewServer(handler, n.Path(g.Certificate), n.Path(g.ClientCA))
	go func() { _ = server.Serve(listener) }()
	n.T.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nobody is waited for
		_ = server.End(ctx, listener)
	})
	return listener.Addr().String()
}
