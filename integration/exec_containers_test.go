package integration

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The clients of containers/image, as Debian has them: skopeo, podman and buildah.

// newContainersScene is a bundle's scene with a home of its own for these clients, which find credentials by repository
// in REGISTRY_AUTH_FILE.
func newContainersScene(t *testing.T, strict bool, bundle node) *execScene {
	t.Helper()
	needs(t, "root", "skopeo", "podman", "buildah")
	s := newBundleScene(t, strict, bundle)
	dir := tempDir(t) // podman mounts its store on itself
	settings := writeFile(t, filepath.Join(dir, "containers.conf"), "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\ntmp_dir = \""+dir+"/tmp\"\n")
	storage := writeFile(t, filepath.Join(dir, "storage.conf"), "[storage]\ndriver = \"vfs\"\ngraphroot = \""+dir+"/graph\"\nrunroot = \""+dir+"/run\"\n")
	registries := writeFile(t, filepath.Join(dir, "registries.conf"), "")
	s.env = append(s.env, "REGISTRY_AUTH_FILE="+s.variable("DOCKER_CONFIG")+"/config.json", "CONTAINERS_CONF="+settings, "CONTAINERS_STORAGE_CONF="+storage, "CONTAINERS_REGISTRIES_CONF="+registries)
	return s
}

// variable returns the value of one in the clients' environment.
func (s *execScene) variable(name string) string {
	for _, entry := range s.env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// newImagesBundle makes a bundle of what these clients copy: images, one for each platform, and an artifact whose entry
// does not say its type.
func newImagesBundle(t *testing.T) node {
	t.Helper()
	base := baseLayer(t)
	rpm := newArtifact(t, "application/vnd.test.rpm", randomBlob("application/x-rpm", 1<<12))
	rpm.desc.ArtifactType = ""
	return newBundle(t, member{"worker", newImage(t, arm64, "worker\n", base)}, member{"web", newImage(t, amd64, "web\n", base)}, member{"rpm", rpm})
}

// TestExecSkopeo: skopeo inspects, copies and pushes a bundle each of whose repositories has a user of its own, and its
// index stays what it is.
func TestExecSkopeo(t *testing.T) {
	needs(t, "all")
	const from, to = "docker://" + execHost + "/org/app:v1 ", "docker://" + execHost + "/org/copy"
	for _, strict := range []bool{false, true} {
		bundle := newImagesBundle(t)
		s := newContainersScene(t, strict, bundle)
		published := bundle
		if strict {
			published = carriedNode(t, bundle)
		}
		publishAt(t, s.registry, published)
		certs := filepath.Dir(writeFile(t, filepath.Join(t.TempDir(), "ca.crt"), s.registry.ca))
		for _, flags := range []string{"", "--cert-dir " + certs + " "} { // as in certs.d: it comes on top of SSL_CERT_FILE
			if got := s.exec(t, "skopeo inspect --raw "+flags+from); got != string(bundle.data) {
				t.Errorf("inspect %s: %s", flags, got)
			}
		}
		for layout, wanted := range map[string]struct {
			command string
			digests []digest.Digest
		}{
			"one": {"skopeo copy " + from + "oci:one:v1", digestsOf(bundle.members[1].node)},
			"all": {"skopeo copy --all " + from + "oci:all:v1", digestsOf(bundle)},
		} {
			s.exec(t, wanted.command)
			checkBlobs(t, filepath.Join(s.dir, layout))
			checkHas(t, filepath.Join(s.dir, layout), wanted.digests...)
		}
		s.exec(t, "skopeo copy --all "+from+"dir:dir")
		if got := readText(t, filepath.Join(s.dir, "dir", "manifest.json")); got != string(bundle.data) {
			t.Errorf("dir: %s", got)
		}
		for source, tag := range map[string]string{"oci:all:v1 ": ":v1", from: ":v2"} {
			s.exec(t, "skopeo copy --all --preserve-digests "+source+to+tag)
			if got := s.exec(t, "skopeo inspect --raw "+to+tag); got != string(bundle.data) {
				t.Errorf("pushed from %s: %s", source, got)
			}
		}
		s.checkTokens(t)
	}
}

// TestExecSkopeoCannot: what Debian's skopeo says of what it does not copy, as docs/clients.md has it.
func TestExecSkopeoCannot(t *testing.T) {
	rpm := newArtifact(t, "application/vnd.test.rpm", randomBlob("application/x-rpm", 1<<12))
	for says, bundle := range map[string]node{
		"Unexpectedly received a manifest list instead of a manifest for a single image": newApp(t),                        // a member is an index
		`but we cannot modify it: "Instructed to preserve digests"`:                      newBundle(t, member{"rpm", rpm}), // an entry has its artifactType
	} {
		s := newContainersScene(t, false, bundle)
		publishAt(t, s.registry, bundle)
		got := nestctl{append(s.env, "PWD="+s.dir)}.try(t, strings.Fields("exec -- skopeo copy --all --preserve-digests docker://"+execHost+"/org/app:v1 dir:"+s.dir+"/dir")...)
		if text := strings.ReplaceAll(got.stderr, `\"`, `"`); got.code != 1 || !strings.Contains(text, says) {
			t.Errorf("status %d, %s", got.code, text)
		}
	}
}

// TestExecPodman: podman and buildah pull the image of a platform out of a bundle. They push one to a member's repository,
// and to the parent's a nested index that podman makes of it, with the annotation, though the registry checks.
func TestExecPodman(t *testing.T) {
	bundle := newImagesBundle(t)
	s := newContainersScene(t, true, bundle)
	publishAt(t, s.registry, carriedNode(t, bundle))
	const ref, made = execHost + "/org/app:v1", execHost + "/org/app:v2"
	s.exec(t, "podman pull --quiet "+ref)
	s.checkImage(t, ref, bundle.members[1].node)
	s.exec(t, "buildah pull --quiet --platform linux/arm64 "+ref)
	s.checkImage(t, ref, bundle.members[0].node)
	s.exec(t, "buildah from --quiet --pull-always "+ref)
	s.checkImage(t, ref, bundle.members[1].node)

	s.checkTokens(t)

	who := loginOf("org/app/web")
	s.registry.tokens.know(who.username, user{password: who.password, rights: pushes("org/app/web")})
	s.exec(t, "buildah push --quiet "+ref+" docker://"+execHost+"/org/app/web:v2")
	s.do(t, "podman manifest create list")
	s.exec(t, "podman manifest add --annotation "+childNamespace+"=web list docker://"+execHost+"/org/app/web:v2")
	s.exec(t, "podman manifest push --all=false list docker://"+made)
	var index ocispec.Index
	must(t, json.Unmarshal([]byte(s.exec(t, "crane manifest "+made)), &index))
	if len(index.Manifests) != 1 || index.Manifests[0].Annotations[childNamespace] != "web" {
		t.Fatalf("pushed %+v", index)
	}
	s.exec(t, "podman pull --quiet "+made)
	s.checkImage(t, made, bundle.members[1].node)
	if copied := s.registry.get(t, "/v2/org/app/manifests/"+index.Manifests[0].Digest.String(), s.registry.tokens.adminToken(t, "org/app")); copied.status != http.StatusNotFound {
		t.Errorf("the parent has the member: status %d", copied.status)
	}
}

// checkImage checks that a name in podman's store is an image's, whose config podman names it by.
func (s *execScene) checkImage(t *testing.T, ref string, image node) {
	t.Helper()
	got := strings.TrimSpace(s.do(t, "podman image inspect --format {{.Id}} "+ref))
	if want := image.blobs[len(image.blobs)-1].desc.Digest; got != want.Encoded() {
		t.Errorf("%s is %s, want %s", ref, got, want)
	}
}

// TestServePodman: with three lines of configuration podman and skopeo pull through a front under the names of the registry
// behind it. They push under the front's name.
func TestServePodman(t *testing.T) {
	bundle := newImagesBundle(t)
	s := newContainersScene(t, true, bundle)
	publishAt(t, s.registry, carriedNode(t, bundle))
	s.behindServe(t, bundle)
	registries := writeFile(t, filepath.Join(t.TempDir(), "registries.conf"), "[[registry]]\nprefix = \""+execHost+"\"\nlocation = \""+serveHost+"\"\n")
	s.env = append(s.env, "CONTAINERS_REGISTRIES_CONF="+registries, "REGISTRY_AUTH_FILE="+s.variable("DOCKER_CONFIG")+"/config.json")
	const ref = execHost + "/org/app:v1"
	s.do(t, "podman pull --quiet "+ref)
	s.checkImage(t, ref, bundle.members[1].node)
	s.do(t, "podman push --quiet "+ref+" docker://"+serveHost+"/org/copy:web")
	s.do(t, "skopeo --registries-conf "+registries+" copy --all docker://"+ref+" dir:dir")
	s.do(t, "skopeo copy --all --preserve-digests dir:dir docker://"+serveHost+"/org/copy:v1")
	if got := s.do(t, "skopeo --registries-conf "+registries+" inspect --raw docker://"+execHost+"/org/copy:v1"); got != string(bundle.data) {
		t.Errorf("copied %s", got)
	}
}

// TestClientsDocument: the commands in docs/clients.md work as they stand there.
func TestClientsDocument(t *testing.T) {
	needs(t, "all")
	bundle := newImagesBundle(t)
	s := newContainersScene(t, true, bundle)
	publishAt(t, s.registry, carriedNode(t, bundle))
	s.registry.pushManifest(t, "org/app/web", "v1", bundle.members[1].node.content)
	writeFile(t, filepath.Join(s.dir, "index.json"), string(bundle.data))
	for _, section := range []string{"crane, oras, regctl", "skopeo", "podman and buildah", "curl"} {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", docScript(t, "clients.md", section))
		cmd.Dir, cmd.Env = s.dir, append(s.env, "TOKEN="+s.registry.tokens.adminToken(t, "org/app"))
		runCommand(t, cmd)
	}
	for _, ref := range []string{"copy:v1", "copy:v2", "copy:v3", "app:v2"} {
		if got := strings.TrimSpace(s.exec(t, "crane digest "+execHost+"/org/"+ref)); got != bundle.desc.Digest.String() {
			t.Errorf("org/%s is %s", ref, got)
		}
	}
}
