//go:build linux

package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// releaseTree is a copy of the working tree, as somebody has it who has cloned the repository.
type releaseTree string

// newReleaseTree makes one with a commit that is the same wherever it is made.
func newReleaseTree(t testing.TB, dir string) releaseTree {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	tree := releaseTree(dir)
	tree.do(t, `cd "$SOURCE" && git ls-files -z -co --exclude-standard | tar -c --null -T - | tar -x -C "$OLDPWD"`, "SOURCE="+repositoryRoot(t))
	tree.do(t, `git init -q && git add -A && git -c user.name=t -c user.email=t@t -c commit.gpgsign=false commit -qm t`,
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	return tree
}

func repositoryRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("..")
	must(t, err)
	return root
}

// do runs a shell's command in the tree.
func (r releaseTree) do(t testing.TB, script string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir, cmd.Env = string(r), append(os.Environ(), append(env, "MAKEFLAGS=")...) // those of the make that runs this test
	runCommand(t, cmd)
}

// release makes the files of one platform, and returns them by name. They are built with the Go of the tests: what it
// has compiled before need not be compiled again.
func (r releaseTree) release(t testing.TB, version, before string, env ...string) map[string][]byte {
	t.Helper()
	r.do(t, before+"\ngit tag "+version+"\nmake release VERSION="+version+" PLATFORMS=linux/amd64 RELEASE_GO=local", env...)
	files := map[string][]byte{}
	for path, f := range allBelow(t, filepath.Join(string(r), "dist")) {
		if f.mode.IsRegular() {
			files[path] = f.content
		}
	}
	return files
}

// fileBelow is all that there is to compare of a file.
type fileBelow struct {
	mode    fs.FileMode
	content []byte // of a link: where it leads
}

func allBelow(t testing.TB, dir string) map[string]fileBelow {
	t.Helper()
	all := map[string]fileBelow{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := fileBelow{mode: info.Mode()}
		switch {
		case f.mode.IsRegular():
			f.content, err = os.ReadFile(path)
		case f.mode&fs.ModeSymlink != 0:
			var link string
			link, err = os.Readlink(path)
			f.content = []byte(link)
		}
		if path != dir {
			all[strings.TrimPrefix(path, dir+"/")] = f
		}
		return err
	}))
	return all
}

// TestRelease: two releases of one commit have the same bytes; the packages of one install, upgrade and remove what they
// should.
func TestRelease(t *testing.T) {
	needs(t, "all", "root", "dpkg", "rpm", "mmdebstrap", "registry")
	dir := tempDir(t)
	tree := newReleaseTree(t, dir+"/tree")
	former, latest := dir+"/former", dir+"/latest"
	tree.release(t, "v0.0.9", "umask 022")
	must(t, os.Rename(dir+"/tree/dist", former))
	once := tree.release(t, "v0.1.0", "umask 022")
	must(t, os.Rename(dir+"/tree/dist", latest))

	t.Run("twice", func(t *testing.T) { checkTwice(t, once, dir+"/elsewhere/tree") })
	for _, m := range []packageManager{
		{"deb", []string{"dpkg", "--install"}, []string{"dpkg", "--remove"}, []string{"dpkg", "--purge", "nestctl", "containerd-nested"}},
		{
			"rpm", []string{"rpm", "--force-debian", "--nodeps", "--upgrade"}, []string{"rpm", "--force-debian", "--erase"},
			[]string{"sh", "-c", `exec rm -r "$1/etc/nested"`}, // rpm leaves that to the administrator
		},
	} {
		t.Run(m.format, func(t *testing.T) { newInstallation(t, m).check(t, former, latest) })
	}
}

// checkTwice: whoever makes a release and where decides nothing; what a user verifies is complete and true.
func checkTwice(t *testing.T, once map[string][]byte, elsewhere string) {
	twice := newReleaseTree(t, elsewhere).release(t, "v0.1.0", "umask 077",
		"TZ=Pacific/Auckland", "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=1", "GOFLAGS=-tags=other")
	if names := slices.Sorted(maps.Keys(once)); !slices.Equal(names, slices.Sorted(maps.Keys(twice))) || len(names) < 10 {
		t.Fatalf("files %q and %q", names, slices.Sorted(maps.Keys(twice)))
	}
	for name, content := range once {
		if !bytes.Equal(content, twice[name]) {
			t.Errorf("%s differs", name)
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(content))
		if name != "SHA256SUMS" && !strings.Contains(string(once["SHA256SUMS"]), sum+"  "+name+"\n") {
			t.Errorf("%s is not in SHA256SUMS", name)
		}
		if name != "SHA256SUMS" && name != "provenance.json" && !strings.Contains(string(once["provenance.json"]), sum) {
			t.Errorf("%s is not in the provenance", name)
		}
	}
}

// packageManager is how packages of a format are installed and removed in another root.
type packageManager struct {
	format                 string
	install, remove, purge []string
}

// installation is a Debian in a directory, and a bundle that it can pull.
type installation struct {
	packageManager
	root string
	app  *app
}

func newInstallation(t *testing.T, m packageManager) *installation {
	t.Helper()
	i := &installation{packageManager: m, root: tempDir(t), app: publish(t, newApp(t))}
	runCommand(t, exec.CommandContext(t.Context(), "tar", "-xf", "../bin/debian.tar", "-C", i.root))
	runCommand(t, exec.CommandContext(t.Context(), "mount", "-t", "proc", "proc", i.root+"/proc"))
	must(t, os.MkdirAll(i.root+"/etc/systemd/system", 0o755))
	config := dockerConfig(t, i.app.logins, nil)
	writeFile(t, i.root+"/root/.docker/config.json", readText(t, config+"/config.json"))
	return i
}

// manage runs the package manager.
func (i *installation) manage(t testing.TB, command []string, args ...string) (string, error) {
	t.Helper()
	words := append([]string{command[0], "--root=" + i.root}, append(command[1:], args...)...)
	if command[0] == "sh" {
		words = append(slices.Clone(command), "sh", i.root)
	}
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (i *installation) mustManage(t testing.TB, command []string, args ...string) {
	t.Helper()
	if out, err := i.manage(t, command, args...); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// packages are the files of a release that are for this installation.
func (i *installation) packages(t testing.TB, release string) []string {
	t.Helper()
	files, err := filepath.Glob(release + "/*." + i.format)
	must(t, err)
	if len(files) != 2 {
		t.Fatalf("packages %q", files)
	}
	return files
}

// run runs a program of the installation.
func (i *installation) run(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "chroot", append([]string{i.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return runCommand(t, cmd)
}

func (i *installation) etc(t testing.TB) map[string]fileBelow { return allBelow(t, i.root+"/etc") }

// check: in a fresh Debian without Go, an installed nestctl pulls a bundle; an upgrade keeps what an administrator has
// configured; a removal restores what nestctl install has changed, and is refused while it cannot; then nothing is left
// in /etc.
func (i *installation) check(t *testing.T, former, latest string) {
	fresh := i.etc(t)
	i.mustManage(t, i.install, i.packages(t, former)...)
	installed := i.etc(t)
	delete(installed, "nested")
	delete(installed, "nested/serve.toml")
	sameFiles(t, "an installation enables or configures something", installed, fresh)
	i.checkProgram(t, "v0.0.9")
	i.configure(t)

	configured := i.etc(t)
	i.mustManage(t, i.install, i.packages(t, latest)...)
	i.checkProgram(t, "v0.1.0")
	sameFiles(t, "an upgrade changes /etc", i.etc(t), configured)

	i.checkRemoval(t)
	i.mustManage(t, i.purge)
	sameFiles(t, "after a purge /etc is not as before", i.etc(t), fresh)
	for _, left := range []string{"/var/lib/nested", "/usr/bin/nestctl", "/usr/bin/containerd-nested", "/usr/share/doc/nestctl", "/usr/share/containerd-nested"} {
		if _, err := os.Lstat(i.root + left); err == nil {
			t.Errorf("%s is left", left)
		}
	}
}

// checkProgram pulls with the program that is installed.
func (i *installation) checkProgram(t *testing.T, version string) {
	t.Helper()
	if got := i.run(t, "nestctl", "version"); !strings.Contains(got, version) {
		t.Errorf("version %q, want %s", got, version)
	}
	if got := i.run(t, "containerd-nested", "--version"); !strings.Contains(got, version) {
		t.Errorf("version %q, want %s", got, version)
	}
	i.run(t, "nestctl", "pull", "--plain-http", "--to", "oci-layout:/bundle-"+version, i.app.ref)
}

// configure does what administrators do: with nestctl install, and with an editor.
func (i *installation) configure(t *testing.T) {
	t.Helper()
	i.run(t, "nestctl", "install", "--no-systemd", "--mode", "node", "--registry", "registry.test", "--for", "containerd")
	writeFile(t, i.root+"/etc/nested/serve.toml", "[serve]\nregistries = [\"a.test=b.test\"]\n")
	writeFile(t, i.root+"/etc/nested/docker/config.json", "{}\n")
	must(t, os.MkdirAll(i.root+"/etc/systemd/system/containerd.service.d", 0o755))
	must(t, os.Symlink("/usr/share/containerd-nested/nested.conf", i.root+"/etc/systemd/system/containerd.service.d/nested.conf"))
	must(t, os.MkdirAll(i.root+"/var/lib/nested", 0o700))
}

// checkRemoval removes the packages, first while nestctl uninstall has to leave something.
func (i *installation) checkRemoval(t *testing.T) {
	t.Helper()
	hosts := i.root + "/etc/containerd/certs.d/registry.test/hosts.toml"
	text := readText(t, hosts)
	must(t, os.WriteFile(hosts, []byte(text+"# mine\n"), 0o644))
	if out, err := i.manage(t, i.remove, "nestctl"); err == nil || !strings.Contains(out, "hosts.toml") {
		t.Errorf("removal beside an edited file: %v, %s", err, out)
	}
	i.run(t, "nestctl", "version") // still there, to help
	must(t, os.WriteFile(hosts, []byte(text), 0o644))
	i.mustManage(t, i.remove, "nestctl", "containerd-nested")

	left := i.etc(t)
	for path := range left {
		if strings.HasPrefix(path, "containerd/") || strings.HasPrefix(path, "systemd/system/containerd") || strings.HasPrefix(path, "nested/tls") {
			t.Errorf("a removal leaves /etc/%s", path)
		}
	}
	kept := "nested/serve.toml"
	if i.format == "rpm" {
		kept += ".rpmsave"
	}
	if _, ok := left[kept]; !ok {
		t.Errorf("a removal takes /etc/%s", kept)
	}
	if _, ok := left["nested/docker/config.json"]; !ok {
		t.Error("a removal takes the administrator's credentials")
	}
}

func sameFiles(t *testing.T, what string, got, want map[string]fileBelow) {
	t.Helper()
	for path, f := range want {
		if g, ok := got[path]; !ok || g.mode != f.mode || !bytes.Equal(g.content, f.content) {
			t.Errorf("%s: %s is %v %q, was %v %q", what, path, g.mode, g.content, f.mode, f.content)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %s is new", what, path)
		}
	}
}
