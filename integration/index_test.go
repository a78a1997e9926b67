package integration

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestIndexCreate: an index that is made of images and artifacts pulls whole, from a registry that insists on its
// members' presence, too, and has the same bytes each time and in each way.
func TestIndexCreate(t *testing.T) {
	members := []member{
		{"web", newIndex(t, newImage(t, amd64, "web\n", baseLayer(t)), newImage(t, arm64, "web\n", baseLayer(t)))},
		{"worker", newImage(t, amd64, "worker\n", baseLayer(t))},
		{"rpm", newArtifact(t, "application/vnd.test.rpm", randomBlob("application/x-rpm", 1<<16))},
	}
	var digests []string
	for _, way := range []struct {
		asked, strategy string
		strict          bool
	}{{"reference", "reference", false}, {"auto", "carrier", false}, {"auto", "carrier", true}, {"anchor", "anchor", true}, {"carrier", "carrier", false}} {
		strategy, strict := way.strategy, way.strict
		t.Run(fmt.Sprintf("%s as %s, strict %t", way.asked, strategy, strict), func(t *testing.T) {
			bundle := newBundle(t, members...)
			users := map[string]user{}
			for _, repository := range repositories("org/app", bundle) {
				l := loginOf(repository)
				users[l.username] = user{password: l.password, rights: map[string][]string{repository: {"pull", "push"}}}
			}
			reg := registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, startTokenServer(t, users))
			logins, args := map[string]login{reg.host + "/org/app": loginOf("org/app")}, []string{"index", "create", "--plain-http", "--format", "json", "--strategy", way.asked, "--tag", "latest", reg.ref("org/app", "v1")}
			for _, m := range members {
				reg.pushNode(t, "org/app/"+m.namespace, "v1", m.node)
				logins[reg.host+"/org/app/"+m.namespace] = loginOf("org/app/" + m.namespace)
				args = append(args, reg.ref("org/app/"+m.namespace, "v1"))
			}
			client := newNestctl(t, dockerConfig(t, logins, nil))
			var made struct {
				Digest, Strategy string
				Members          []string
			}
			for range 2 {
				must(t, json.Unmarshal([]byte(client.run(t, args...).stdout), &made))
				if made.Strategy != strategy || len(made.Members) != len(members) {
					t.Errorf("made %+v", made)
				}
			}
			digests = append(digests, made.Digest)
			for _, tag := range []string{"v1", "latest"} {
				layout := t.TempDir() + "/layout"
				client.run(t, "pull", "--plain-http", "--all-platforms", "--to", "oci-layout:"+layout, reg.ref("org/app", tag))
				checkBlobs(t, layout)
			}
			var index ocispec.Index
			must(t, json.Unmarshal([]byte(client.run(t, append([]string{"index", "create", "--dry-run"}, args[2:]...)...).stdout), &index))
			if p := index.Manifests[1].Platform; p == nil || p.Architecture != "amd64" || index.Manifests[2].ArtifactType != "application/vnd.test.rpm" {
				t.Errorf("index %+v", index)
			}
			token, _ := askToken(t, reg.tokens, loginOf("org/app/web").username, loginOf("org/app/web").password, pullScope("org/app/web"))
			if tags := string(reg.get(t, "/v2/org/app/web/tags/list", token).body); !strings.Contains(tags, "nested-"+made.Digest[7:19]) {
				t.Errorf("the member is not protected: %s", tags)
			}
		})
	}
	if len(slices.Compact(digests)) != 1 {
		t.Errorf("digests %q", digests)
	}
}

// TestIndexEdit: members come and go, the tag moves with them, all of them are protected each time, and a retired
// index's tags can be deleted.
func TestIndexEdit(t *testing.T) {
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}, member{"worker", newImage(t, amd64, "worker\n", baseLayer(t))})
	users := pushers(repositories("org/app", bundle)...)
	for _, u := range users {
		for repository := range u.rights {
			u.rights[repository] = append(u.rights[repository], "delete")
		}
	}
	reg := registryOptions{serve: (*httptest.Server).Start, deletes: true}.start(t, startTokenServer(t, users))
	a := publishAt(t, reg, bundle)
	for _, m := range bundle.members {
		reg.pushNode(t, "org/app/"+m.namespace, "v1", m.node)
	}
	second := newImage(t, amd64, "web, the second\n", baseLayer(t))
	reg.pushNode(t, "org/app/web", "v2", second)
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	index := func(command string, args ...string) ocispec.Index {
		t.Helper()
		client.run(t, append([]string{"index", command, "--plain-http"}, args...)...)
		shown := client.run(t, "index", "show", "--plain-http", a.ref).stdout
		var index ocispec.Index
		must(t, json.Unmarshal([]byte(shown), &index))
		return index
	}
	digests := func(index ocispec.Index) (all []string) {
		for _, d := range index.Manifests {
			all = append(all, d.Annotations[childNamespace]+"="+d.Annotations[ocispec.AnnotationRefName]+"@"+d.Digest.String())
		}
		return all
	}
	web, worker := bundle.members[0].node.desc.Digest.String(), bundle.members[1].node.desc.Digest.String()
	got := digests(index("create", a.ref, reg.ref("org/app/web", "v1")))
	if want := []string{"web=@" + web}; !slices.Equal(got, want) {
		t.Errorf("created %q, want %q", got, want)
	}
	first := client.run(t, "index", "show", "--plain-http", a.ref).stdout
	got = digests(index("add", a.ref, "jobs="+reg.ref("org/app/worker", "v1"), reg.ref("org/app/web", "v2")))
	if want := []string{"web=@" + web, "worker=jobs@" + worker, "web=@" + second.desc.Digest.String()}; !slices.Equal(got, want) {
		t.Errorf("added %q, want %q", got, want)
	}
	both := client.run(t, "index", "show", "--plain-http", a.ref).stdout
	tags := func(repository string) string {
		t.Helper()
		l := loginOf(repository)
		token, _ := askToken(t, reg.tokens, l.username, l.password, pullScope(repository))
		return string(reg.get(t, "/v2/"+repository+"/tags/list", token).body)
	}
	tag := func(index string) string { return "nested-" + digest.FromString(index).Encoded()[:12] }
	if all := tags("org/app/web"); !strings.Contains(all, tag(first)+`"`) || !strings.Contains(all, tag(both)+`"`) || !strings.Contains(all, tag(both)+"-"+second.desc.Digest.Encoded()[:12]) {
		t.Errorf("tags %s, want %s and two of %s", all, tag(first), tag(both))
	}
	if all := tags("org/app/worker"); !strings.Contains(all, tag(both)) {
		t.Errorf("tags %s, want %s", all, tag(both))
	}
	got = digests(index("add", "--replace", a.ref, reg.ref("org/app/web", "v2")))
	if want := []string{"worker=jobs@" + worker, "web=@" + second.desc.Digest.String()}; !slices.Equal(got, want) {
		t.Errorf("replaced %q, want %q", got, want)
	}
	if got = digests(index("remove", a.ref, "worker")); len(got) != 1 {
		t.Errorf("removed: %q", got)
	}
	client.fails(t, 4, []string{"no member worker"}, "index", "remove", "--plain-http", a.ref, "worker")
	client.run(t, "index", "unprotect", "--plain-http", reg.ref("org/app", digest.FromString(both).String()))
	if all := tags("org/app/web") + tags("org/app/worker"); strings.Contains(all, tag(both)) || !strings.Contains(all, tag(first)) {
		t.Errorf("after unprotect: tags %s, without %s", all, tag(both))
	}
	a.checkUsers(t)
}

// checkUsers checks that each repository was asked for by its own user, but for mounts alone in its token.
func (a *app) checkUsers(t testing.TB) {
	t.Helper()
	for _, line := range a.tokens.requests() {
		own := slices.ContainsFunc(line.Scopes, func(scope string) bool {
			repository, actions, _ := parseScope(scope)
			return line.User == loginOf(repository).username && (len(line.Scopes) == 1 || slices.Contains(actions, "push"))
		})
		if !own || len(line.Scopes) > 2 {
			t.Errorf("token request %+v", line)
		}
	}
}
