package integration

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

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
	for strategy, strict := range map[string]bool{"reference": false, "carrier": true} {
		t.Run(strategy, func(t *testing.T) {
			bundle := newBundle(t, members...)
			users := map[string]user{}
			for _, repository := range repositories("org/app", bundle) {
				l := loginOf(repository)
				users[l.username] = user{password: l.password, rights: map[string][]string{repository: {"pull", "push"}}}
			}
			reg := registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, startTokenServer(t, users))
			logins, args := map[string]login{reg.host + "/org/app": loginOf("org/app")}, []string{"index", "create", "--plain-http", "--format", "json", "--tag", "latest", reg.ref("org/app", "v1")}
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
