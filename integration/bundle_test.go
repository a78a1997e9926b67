package integration

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
)

// childNamespace is spelled out here, not imported: it is what publishers write.
const childNamespace = "io.github.nestedoci.child-namespace"

// member is what a child-namespace descriptor points to.
type member struct {
	namespace string
	node      node
}

// newBundle makes a nested index over members, whose own repositories lie below the index's.
func newBundle(t testing.TB, members ...member) node {
	t.Helper()
	descs := make([]ocispec.Descriptor, len(members))
	for i, m := range members {
		descs[i] = m.node.desc
		descs[i].Annotations = map[string]string{childNamespace: m.namespace}
	}
	bundle := indexOf(t, descs...)
	bundle.members = members
	return bundle
}

// newBundleByProperty is newBundle with the form that image-spec issue 1217 proposes.
func newBundleByProperty(t testing.TB, members ...member) node {
	t.Helper()
	type descriptor struct {
		ocispec.Descriptor
		Namespace string `json:"namespace"`
	}
	var entries []descriptor
	for _, m := range members {
		entries = append(entries, descriptor{m.node.desc, m.namespace})
	}
	index := newDocument(t, ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": entries,
	})
	return node{content: index, members: members}
}

// newApp makes the bundle of most tests: two images, one of them for two platforms.
func newApp(t testing.TB) node {
	t.Helper()
	base := baseLayer(t)
	web := newIndex(t, newImage(t, amd64, "web on amd64\n", base), newImage(t, arm64, "web on arm64\n", base))
	return newBundle(t, member{"web", web}, member{"worker", newImage(t, amd64, "worker\n", base)})
}

// newCarrier makes the manifest that carries a nested index through registries that insist on the
// presence of an index's members.
func newCarrier(t testing.TB, bundle node) node {
	t.Helper()
	carrier := newArtifact(t, "application/vnd.nestedoci.carrier.v1+json", bundle.content)
	carrier.members = bundle.members
	return carrier
}

// carriedNode is what a registry has of a node whose nested indexes are carried.
func carriedNode(t testing.TB, n node) node {
	t.Helper()
	if len(n.members) == 0 {
		return n
	}
	made := node{nodes: n.nodes}
	for _, m := range n.members {
		made.members = append(made.members, member{m.namespace, carriedNode(t, m.node)})
	}
	desc, data, err := nested.NewCarrier(n.desc, n.data)
	must(t, err)
	index := n.content
	index.desc.MediaType = "application/octet-stream"
	made.content, made.blobs = content{desc, data}, []content{index, newContent(ocispec.MediaTypeEmptyJSON, []byte("{}"))}
	return made
}

// memberNames are the names of the members' image records.
func (r *registry) memberNames(repository string, bundle node) []string {
	var names []string
	for _, m := range bundle.members {
		target := repository + "/" + m.namespace
		names = append(names, r.ref(target, m.node.desc.Digest.String()))
		names = append(names, r.memberNames(target, m.node)...)
	}
	slices.Sort(names)
	return names
}

// login is a credential under a key of a Docker configuration.
type login struct{ username, password string }

// dockerConfig writes a Docker configuration with credentials in `auths`, and with further
// properties, and returns its directory.
func dockerConfig(t testing.TB, auths map[string]login, more map[string]any) string {
	t.Helper()
	entries := map[string]any{}
	for key, l := range auths {
		entries[key] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(l.username + ":" + l.password))}
	}
	config := map[string]any{"auths": entries}
	maps.Copy(config, more)
	text, err := json.Marshal(config)
	must(t, err)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "config.json"), string(text))
	return dir
}

// loginOf is the login of the one user who may pull from the repository. The name has no slash:
// docker-credential-pass would take it for a folder.
func loginOf(repository string) login {
	return login{"user of " + strings.ReplaceAll(repository, "/", "."), "canary of " + repository}
}

// userPerRepository gives every repository a user of its own, who may do nothing else.
func userPerRepository(repositories ...string) map[string]user {
	users := map[string]user{}
	for _, repository := range repositories {
		l := loginOf(repository)
		users[l.username] = user{password: l.password, rights: pulls(repository)}
	}
	return users
}
