//go:build linux

package integration

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// gatewayProgram is a client that a user runs on a node, and how it copies to the OCI layout out, or pulls to its own store.
// Of its commands REF is a reference, and ARCH what Go calls an architecture.
type gatewayProgram struct {
	name, one, all string // without all it pulls one image only
	title          string // in place of the name
	inPath         bool   // it has no mirrors: its user names the gateway
}

const orasCopy = "oras cp --no-tty --from-ca-file CERTS/ca.crt --from-cert-file CERTS/client.cert --from-key-file CERTS/client.key REF --to-oci-layout out:v1"

var gatewayPrograms = []gatewayProgram{
	{name: "skopeo", one: "skopeo --override-arch ARCH copy docker://REF oci:out:v1", all: "skopeo copy --all --preserve-digests docker://REF oci:out:v1"},
	{name: "podman", one: "podman pull --quiet --platform linux/ARCH REF"},
	{name: "buildah", one: "buildah pull --quiet --platform linux/ARCH REF"},
	{name: "containersimage", title: "containers/image", one: "containersimage -platform linux/ARCH REF out", all: "containersimage -all REF out"},
	{name: "regctl", one: "regctl image copy --platform linux/ARCH REF ocidir://out:v1", all: "regctl image copy REF ocidir://out:v1"},
	{name: "oras", one: orasCopy + " --platform linux/ARCH", all: orasCopy + " -r", inPath: true},
}

// command is one of a program's for a reference.
func (s *mirrorScene) command(p gatewayProgram, command, ref, arch string) string {
	if p.inPath {
		ref = s.gateway.address + "/" + ref
	}
	return strings.NewReplacer("REF", ref, "ARCH", arch, "CERTS", filepath.Join(s.containers(), "certs.d", s.gateway.address)).Replace(command)
}

// pull pulls the image of a platform, and checks that it is there. It leaves nothing behind.
func (s *mirrorScene) pull(t *testing.T, p gatewayProgram, ref, arch string, image node) {
	t.Helper()
	s.do(t, s.command(p, p.one, ref, arch))
	if p.all == "" {
		s.checkImage(t, ref, image)
		s.do(t, "podman rmi --force "+ref)
		return
	}
	s.checkOut(t, image)
}

// checkOut checks that the layout has a node with all that is in it, and removes it.
func (s *mirrorScene) checkOut(t *testing.T, n node) {
	t.Helper()
	out := filepath.Join(s.dir, "out")
	checkBlobs(t, out)
	checkHas(t, out, digestsOf(n)...)
	must(t, os.RemoveAll(out))
}

// twice are what a program fetches twice from whatever registry: of oras an index.
func (p gatewayProgram) twice(index node) []digest.Digest {
	if p.name == "oras" {
		return []digest.Digest{index.desc.Digest}
	}
	return nil
}

// forRegctl configures regctl as docs/clients.md says, with more mirrors.
func (s *mirrorScene) forRegctl(t *testing.T, mirrors ...string) {
	t.Helper()
	script, _, _ := strings.Cut(docScript(t, "clients.md", "regctl and oras behind the node gateway"), "\nregctl image copy")
	script = strings.NewReplacer("127.0.0.1:7117", s.gateway.address, "/etc/containers", s.containers()).Replace(script)
	for _, mirror := range mirrors {
		script += " --mirror " + mirror
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	runCommand(t, cmd)
}

// refs are a repository's references of a node: by tag and by digest.
func refs(tag string, n node) []string {
	return []string{execHost + "/org/app:" + tag, execHost + "/org/app@" + n.desc.Digest.String()}
}

// TestGatewayPrograms: each program pulls a bundle with a user for each repository, whole and the images of two platforms, by
// tag and by digest; and plain images, these also without the gateway and after it was uninstalled, but for oras. Nothing is
// fetched twice, and no member with another's credential. docs/clients.md says so.
func TestGatewayPrograms(t *testing.T) {
	needs(t, "all")
	s := newMirrorScene(t, "node")
	s.forRegctl(t)
	for _, p := range gatewayPrograms {
		for _, ref := range refs("v1", s.bundle) {
			s.pull(t, p, ref, "arm64", s.bundle.members[0].node)
			s.pull(t, p, ref, "amd64", s.bundle.members[1].node)
			if p.all != "" {
				s.registry.requests()
				s.do(t, s.command(p, p.all, ref, ""))
				s.checkFloor(t, p.twice(s.bundle)...)
				s.checkOut(t, s.bundle)
			}
		}
		for _, ref := range refs("plain", s.plain) {
			s.pull(t, p, ref, "amd64", s.plain)
		}
	}
	s.checkTokens(t)

	s.gateway.stop(t)
	s.checkWithout(t)
	for _, p := range gatewayPrograms {
		s.fails(t, s.command(p, p.one, refs("v1", s.bundle)[0], "amd64"))
		must(t, os.RemoveAll(filepath.Join(s.dir, "out")))
	}
	newNestctl(t, "").run(t, "uninstall", "--root", s.gateway.root)
	before := tempDir(t)
	writeHosts(t, filepath.Join(before, "containerd/certs.d"), execHost, (&registry{host: execHost, scheme: "https"}).hostsOf())
	wantTree(t, treeOf(t, filepath.Join(s.gateway.root, "etc")), treeOf(t, before))
	s.checkWithout(t)
	for _, p := range gatewayPrograms {
		alone := "yes"
		if p.inPath {
			alone = "no: the reference names the gateway"
		}
		all := "yes"
		if p.all == "" {
			all = "pulls one image"
		}
		checkRow(t, cmp.Or(p.title, p.name), versionOf(t, p.name), all, "yes", alone, "`TestGatewayPrograms`")
	}
}

// checkWithout pulls plain images without the gateway.
func (s *mirrorScene) checkWithout(t *testing.T) {
	t.Helper()
	for _, p := range gatewayPrograms {
		for _, ref := range refs("plain", s.plain) {
			if p.inPath {
				s.fails(t, s.command(p, p.one, ref, "amd64"))
			} else {
				s.pull(t, p, ref, "amd64", s.plain)
			}
		}
	}
}

// versionOf is the version of a program: the one that the Makefile has built or unpacked, or else what the program says.
func versionOf(t *testing.T, program string) string {
	t.Helper()
	built, err := filepath.Glob("../bin/." + program + "-[v0-9]*")
	must(t, err)
	if len(built) == 1 {
		_, version, _ := strings.Cut(filepath.Base(built[0]), program+"-")
		return version
	}
	return regexp.MustCompile(`[0-9]+[0-9.]+`).FindString(runCommand(t, exec.CommandContext(t.Context(), program, "--version")))
}

// checkRow checks a client's row in the table of docs/clients.md, and with UPDATE=1 in the environment writes it.
func checkRow(t *testing.T, cells ...string) {
	t.Helper()
	const document = "../docs/clients.md"
	row := strings.Join(cells, " | ")
	before, table, _ := strings.Cut(readText(t, document), tableBegin)
	above, rest, found := strings.Cut(table, "\n| "+cells[0]+" | ")
	was, below, _ := strings.Cut(rest, " |\n")
	switch {
	case !found:
		t.Errorf("%s has no row of %s", document, cells[0])
	case cells[0]+" | "+was == row:
	case os.Getenv("UPDATE") == "1":
		must(t, os.WriteFile(document, []byte(before+tableBegin+above+"\n| "+row+" |\n"+below), 0o644))
	default:
		t.Errorf("%s: make clients-doc writes its table, which says\n%s\nand should\n%s", document, was, row)
	}
}
