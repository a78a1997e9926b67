package integration

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// airgapScene is two registries with an air gap between them, and a directory for what is carried across.
type airgapScene struct {
	near, far *app
	client    nestctl
	dir       string
}

// newAirgapScene has org/shop:v1, org/shop:v2 and org/bank:v1 in the near registry, all with one base layer. The second
// shop has another web, and the same db.
func newAirgapScene(t *testing.T) (s *airgapScene, shop, later, bank node) {
	t.Helper()
	base := baseLayer(t)
	db := member{"db", newImage(t, amd64, "db\n", base)}
	shop = newBundle(t, member{"web", newImage(t, amd64, "web 1\n", base)}, db)
	later = newBundle(t, member{"web", newImage(t, amd64, "web 2\n", base)}, db)
	bank = newBundle(t, member{"web", newImage(t, amd64, "bank\n", base)})
	all := login{"all", "canary of all"}
	start := func(parent string) *app {
		rights := map[string][]string{}
		for _, name := range slices.Concat(repositories(parent+"org/shop", shop), repositories(parent+"org/bank", bank)) {
			rights[name] = []string{"pull", "push"}
		}
		reg := startRegistry(t, startTokenServer(t, map[string]user{all.username: {password: all.password, rights: rights}}))
		return &app{registry: reg, bundle: later}
	}
	s = &airgapScene{near: start(""), far: start("prod/"), dir: t.TempDir()}
	s.near.pushNode(t, "org/shop", "v1", shop)
	s.near.pushNode(t, "org/shop", "v2", later)
	s.near.pushNode(t, "org/bank", "v1", bank)
	s.client = newNestctl(t, dockerConfig(t, map[string]login{s.near.host: all, s.far.host: all}, nil))
	return s, shop, later, bank
}

// do does what a section of docs/airgap.md says, as it stands.
func (s *airgapScene) do(t *testing.T, section string) {
	t.Helper()
	script := strings.NewReplacer("registry.example.com", s.near.host, "mirror.example.com", s.far.host).Replace(docScript(t, "airgap.md", section))
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", `nestctl() { command=$1; shift; command nestctl "$command" --plain-http "$@"; }`+"\n"+script)
	cmd.Dir, cmd.Env = s.dir, s.client.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", section, err, out)
	}
}

// TestAirgap: the commands of docs/airgap.md, from a registry into another one: a release, the same in parts, and an update
// that brings only what is new. Digests stay.
func TestAirgap(t *testing.T) {
	s, shop, later, bank := newAirgapScene(t)
	s.do(t, "The first release")
	s.do(t, "In parts")
	s.do(t, "An update")
	for ref, bundle := range map[string]node{"shop:v1": shop, "shop:v2": later, "bank:v1": bank} {
		(&app{registry: s.far.registry, bundle: bundle}).wholeAt(t, s.client, s.far.host+"/prod/org/"+ref)
	}
}

// TestAirgapRequests: the update is read with one request for each index and for what is new, and none for the rest. It is
// carried in parts. The far registry is asked once for each blob that was left out, and sent what is new.
func TestAirgapRequests(t *testing.T) {
	s, _, later, _ := newAirgapScene(t)
	first, second := "oci-archive:"+filepath.Join(s.dir, "v1.tar"), "oci-archive:"+filepath.Join(s.dir, "v2.tar")
	s.client.run(t, "copy", "--plain-http", s.near.host+"/org/shop:v1", first)
	s.client.run(t, "copy", "--plain-http", "--all", first, s.far.host+"/prod")
	s.near.requests()
	s.far.requests()

	s.client.run(t, "copy", "--plain-http", "--split", "1KiB", "--since", first, s.near.host+"/org/shop:v2", second)
	answered := only(s.near.requests(), func(r request) bool { return r.Status == http.StatusOK && r.Kind != "base" })
	if got := len(answered); got != 1+1+2 { // the index, web's manifest, and its config and own layer
		t.Errorf("%d requests: %+v", got, answered)
	}
	s.client.run(t, "copy", "--plain-http", "--all", second+".001", s.far.host+"/prod")
	log := s.far.requests()
	db := later.members[1].node
	for _, c := range db.contents() {
		asked := only(log, func(r request) bool {
			return r.Repository == "prod/org/shop/db" && r.Reference == c.desc.Digest.String() && r.Status == http.StatusOK
		})
		if len(asked) != 1 {
			t.Errorf("%s: %+v", c.desc.Digest, asked)
		}
	}
	uploads := only(log, func(r request) bool {
		return r.Method == http.MethodPut && r.Kind == "uploads" && r.Status == http.StatusCreated
	})
	if len(uploads) != 2+1 { // web's config and layer, and the index in its carrier, whose config is there
		t.Errorf("uploaded %+v", uploads)
	}
	s.far.wholeAt(t, s.client, s.far.host+"/prod/org/shop:v2")
}
