package integration

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// pruneScene is a registry with releases of one bundle: each has its own web, all have the same base, and the second has
// a nested index.
type pruneScene struct {
	*collectedScene
	releases map[string]collectedBundle
	web      map[string]node
}

func newPruneScene(t *testing.T, o registryOptions) *pruneScene {
	t.Helper()
	o.serve, o.deletes = (*httptest.Server).Start, true
	s := &pruneScene{collectedScene: &collectedScene{registry: o.start(t, nil), kind: o.kind, client: newNestctl(t, dockerConfig(t, nil, nil))},
		releases: map[string]collectedBundle{}, web: map[string]node{}}
	base := newImage(t, amd64, "base\n", baseLayer(t))
	for _, v := range []string{"v1.9.0", "v1.10.0", "v1.11.0"} {
		s.web[v] = newImage(t, amd64, "web "+v+"\n", baseLayer(t))
		members := []member{{"base", base}, {"web", s.web[v]}}
		if v == "v1.10.0" {
			members = append(members, member{"data", newBundle(t, member{"db", newImage(t, amd64, "db\n", baseLayer(t))})})
		}
		s.bundle = newBundle(t, members...)
		s.releases[v] = s.release(t, v)
	}
	return s
}

// release publishes the scene's bundle under a tag, with members that have no tags of their own.
func (s *pruneScene) release(t *testing.T, tag string) collectedBundle {
	t.Helper()
	made := collectedBundle{way: tag, ref: s.ref("org/app", tag)}
	args := []string{"index", "create", "--plain-http", "--format", "json", made.ref}
	for _, m := range s.bundle.members {
		at := "org/app/" + m.namespace
		if len(m.node.members) > 0 {
			db := m.node.members[0]
			s.pushNode(t, at+"/"+db.namespace, "", db.node)
			s.client.run(t, "index", "create", "--plain-http", s.ref(at, "build-"+strings.ReplaceAll(tag, ".", "-")), s.ref(at+"/"+db.namespace, db.node.desc.Digest.String()))
			args = append(args, s.ref(at, "build-"+strings.ReplaceAll(tag, ".", "-")))
			continue
		}
		s.pushNode(t, at, "", m.node)
		args = append(args, s.ref(at, m.node.desc.Digest.String()))
		made.content = append(made.content, digestsOf(m.node)...)
	}
	var answer struct{ Digest digest.Digest }
	must(t, json.Unmarshal([]byte(s.client.run(t, args...).stdout), &answer))
	made.content = append(made.content, answer.Digest)
	return made
}

// TestPrune: old releases go with what only they name, and what is kept outlives the registry's clean-up.
func TestPrune(t *testing.T) {
	for name, o := range map[string]registryOptions{
		"distribution":    {},
		"docker-registry": {kind: dockerRegistry},
	} {
		t.Run(name, func(t *testing.T) {
			s := newPruneScene(t, o)
			would := s.client.run(t, "prune", "--plain-http", "--keep", "1", s.host+"/org/app").stdout
			for v, b := range s.releases {
				if lost := s.lost(t, b); lost != "" {
					t.Errorf("%s, after a dry run: %s", v, lost)
				}
			}
			did := s.client.run(t, "prune", "--plain-http", "--keep", "1", "--dry-run=false", s.host+"/org/app").stdout
			t.Logf("%s\n%s", would, did)
			if o.kind == distribution && strings.ReplaceAll(would, "would delete", "deleted") != did {
				t.Errorf("listed\n%s\ndone\n%s", would, did)
			}
			for i, flags := range cleanUps {
				if out, err := s.collect(t, flags...); err != nil {
					t.Fatalf("clean-up %d %q: %v\n%s", i, flags, err, out)
				}
				for v, b := range s.releases {
					if lost := s.lost(t, b); (lost == "") != (v == "v1.11.0") {
						t.Errorf("%s, after clean-up %d %q: %q", v, i, flags, lost)
					}
				}
			}
			for v, web := range s.web {
				if got, want := s.has(t, "org/app/web", web.content), v == "v1.11.0"; got != want {
					t.Errorf("web of %s is there: %t, want %t", v, got, want)
				}
			}
			// The nested index has a tag of its own.
			if got := s.client.try(t, "check", "--plain-http", s.ref("org/app/data", "build-v1-10-0")); got.code != exitOK {
				t.Errorf("the nested index: %s", got.stderr)
			}
			tags := string(s.get(t, "/v2/org/app/base/tags/list", "").body)
			if n := strings.Count(tags, "nested-"); n != map[registryKind]int{distribution: 1, dockerRegistry: 3}[o.kind] {
				t.Errorf("tags of what is kept: %s", tags)
			}
			again := s.client.run(t, "prune", "--plain-http", "--keep", "1", "--dry-run=false", s.host+"/org/app").stdout
			if slices.Contains(strings.Fields(again), "deleted") {
				t.Errorf("again: %s", again)
			}
		})
	}
}

// TestRemoveCleansUp: after a member was removed with --clean-up, and an index was unprotected whose base one without
// protection needs, the registry's clean-up takes what goes, and nothing that stays.
func TestRemoveCleansUp(t *testing.T) {
	s := newPruneScene(t, registryOptions{})
	base := s.bundle.members[0].node.desc.Digest.String()
	s.client.run(t, "index", "remove", "--plain-http", "--clean-up", s.ref("org/app", "v1.11.0"), "web")
	for _, v := range []string{"v1.9.0", "v1.10.0"} {
		s.client.run(t, "index", "create", "--plain-http", "--no-protect", "--annotation", "release="+v, s.ref("org/app", "bare"), s.ref("org/app/base", base))
		said := s.client.run(t, "index", "unprotect", "--plain-http", s.ref("org/app", v)).stdout
		if want := "kept " + s.host + "/org/app/base:nested-"; !strings.Contains(said, want) || !strings.Contains(said, ": "+s.ref("org/app", "bare")+" names it\n") {
			t.Errorf("%s: %s", v, said)
		}
	}
	for i, flags := range cleanUps {
		if out, err := s.collect(t, flags...); err != nil {
			t.Fatalf("clean-up %d %q: %v\n%s", i, flags, err, out)
		}
		for _, tag := range []string{"v1.11.0", "bare"} {
			s.client.run(t, "check", "--plain-http", s.ref("org/app", tag))
		}
	}
	if s.has(t, "org/app/web", s.web["v1.11.0"].content) {
		t.Error("the member is there")
	}
}
