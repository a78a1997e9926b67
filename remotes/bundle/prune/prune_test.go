package prune_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/prune"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// scene is a registry with the parent org/app.
type scene struct {
	*registrytest.Registry
	t      *testing.T
	client *registry.Client
	parent auth.Repository
}

func newScene(t *testing.T) *scene {
	r := clienttest.NewRegistry(t)
	r.Intercept(r.Deletes())
	return &scene{r, t, clienttest.NewClient(t, registry.Options{PlainHTTP: true}), clienttest.Repository(t, r.Host()+"/org/app")}
}

// image is an image in a repository, made at a time, if one is given.
func (s *scene) image(repository, says, created string) ocispec.Descriptor {
	config := map[string]any{"architecture": "amd64", "os": "linux", "says": says, "rootfs": map[string]any{"type": "layers", "diff_ids": []string{}}}
	if created != "" {
		config["created"] = created
	}
	c := s.PutBlob(repository, ocispec.MediaTypeImageConfig, clienttest.Encode(config))
	return s.Put(repository, ocispec.MediaTypeImageManifest, clienttest.ManifestOf(c))
}

// index is a nested index in a repository, whose members are protected.
func (s *scene) index(repository, created string, tags []string, members map[string]ocispec.Descriptor) ocispec.Descriptor {
	var index ocispec.Index
	index.SchemaVersion, index.MediaType = 2, ocispec.MediaTypeImageIndex
	for _, name := range []string{"web", "base", "data", "data/db", "db"} {
		if m, ok := members[name]; ok {
			index.Manifests = append(index.Manifests, registrytest.Member(m, name))
		}
	}
	if created != "" {
		index.Annotations = map[string]string{ocispec.AnnotationCreated: created}
	}
	d := s.Put(repository, index.MediaType, clienttest.Encode(index), tags...)
	for name, m := range members {
		s.Tag(repository+"/"+name, "nested-"+d.Digest.Encoded()[:12], m.Digest)
	}
	return d
}

// release is an index with a web of its own and a base that all have.
func (s *scene) release(tag, created string) (web ocispec.Descriptor) {
	web = s.image("org/app/web", "web "+tag, "")
	s.index("org/app", created, []string{tag}, map[string]ocispec.Descriptor{"web": web, "base": s.image("org/app/base", "base", "")})
	return web
}

func (s *scene) plan(o prune.Options) (*prune.Plan, error) {
	s.t.Helper()
	return prune.New(s.t.Context(), s.client, s.parent, o)
}

// prune plans and deletes, and returns the plan.
func (s *scene) prune(o prune.Options) *prune.Plan {
	s.t.Helper()
	plan := clienttest.Must(s.plan(o))
	clienttest.NoError(s.t, plan.Delete(s.t.Context(), func(prune.Deletion) error { return nil }))
	return plan
}

func (s *scene) has(repository string, d ocispec.Descriptor) bool {
	at := clienttest.Repository(s.t, s.Host()+"/"+repository)
	_, err := s.client.Digest(s.t.Context(), at, d.Digest.String())
	return err == nil
}

// complete fails unless all that a reference names is there.
func (s *scene) complete(ref string) {
	s.t.Helper()
	b, err := bundle.Open(s.t.Context(), nested.New(s.client, nested.Options{Complete: true}), clienttest.Must(auth.ParseReference(s.Host()+"/"+ref)))
	if err == nil {
		_, err = b.Walk(s.t.Context(), bundle.Options{}, bundle.Visitor{})
	}
	if err != nil {
		s.t.Errorf("%s: %v", ref, err)
	}
}

func tagsOf(releases []prune.Release) (all []string) {
	for _, r := range releases {
		all = append(all, r.Tags[0])
	}
	return all
}

// TestOrder: which releases are the newest, by what they say of themselves; where that does not decide, nothing is done.
func TestOrder(t *testing.T) {
	const day = "2026-11-%02dT00:00:00Z"
	for name, test := range map[string]struct {
		tags    []string // in the order of their days; "" for none
		days    []int    // of the annotation
		configs []int    // of a config, in place of it
		o       prune.Options
		kept    string // "": an error
		order   prune.Order
	}{
		"annotations":                  {[]string{"c", "a", "b"}, []int{1, 2, 3}, nil, prune.Options{Keep: 2}, "b a", prune.ByCreated},
		"annotations against versions": {[]string{"v2", "v1.9", "v1.8"}, []int{1, 2, 3}, nil, prune.Options{Keep: 1}, "v1.8", prune.ByCreated},
		"configs":                      {[]string{"c", "a", "b"}, nil, []int{3, 1, 2}, prune.Options{Keep: 1}, "c", prune.ByCreated},
		"versions":                     {[]string{"v1.10.0", "v1.9.0", "v1.10.0-rc.2"}, nil, nil, prune.Options{Keep: 2}, "v1.10.0 v1.10.0-rc.2", prune.ByVersion},
		"dates":                        {[]string{"2026.01.09", "2026.11.01", "2025.12.31"}, nil, nil, prune.Options{Keep: 1}, "2026.11.01", prune.ByVersion},
		"same time, versions":          {[]string{"v1.2", "v1.10", "v1.9"}, []int{1, 1, 1}, nil, prune.Options{Keep: 1}, "v1.10", prune.ByVersion},
		"nothing":                      {[]string{"c", "a", "b"}, nil, nil, prune.Options{Keep: 1}, "", ""},
		"one says nothing":             {[]string{"v1", "v2", "main"}, nil, nil, prune.Options{Keep: 1}, "", ""},
		"one is kept always":           {[]string{"v1", "v2", "main"}, nil, nil, prune.Options{Keep: 1, KeepTags: []string{"m*"}}, "v2 main", prune.ByVersion},
		"no order is needed":           {[]string{"c", "a", "b"}, nil, nil, prune.Options{Keep: 3}, "a b c", ""},
		"age":                          {[]string{"c", "a", "b"}, []int{1, 2, 3}, nil, prune.Options{Older: 36 * time.Hour}, "b", prune.ByCreated},
		"a clock that was wrong":       {[]string{"v1", "v2", "v3"}, []int{28, 2, 3}, nil, prune.Options{Keep: 1}, "v3", prune.ByVersion},
		"its age":                      {[]string{"v1", "v2", "v3"}, []int{28, 2, 3}, nil, prune.Options{Older: 36 * time.Hour}, "", ""},
		"age of none":                  {[]string{"v1", "v2", "v3"}, nil, nil, prune.Options{Older: 36 * time.Hour}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			for i, tag := range test.tags {
				annotation, config := "", ""
				if test.days != nil {
					annotation = fmt.Sprintf(day, test.days[i])
				}
				if test.configs != nil {
					config = fmt.Sprintf(day, test.configs[i])
				}
				old := s.image("org/app/base", "base", "1970-01-01T00:00:00Z")
				s.index("org/app", annotation, []string{tag}, map[string]ocispec.Descriptor{"web": s.image("org/app/web", tag, config), "base": old})
			}
			test.o.Now = clienttest.Must(time.Parse(time.RFC3339, fmt.Sprintf(day, 4)))
			plan, err := s.plan(test.o)
			switch {
			case test.kept == "":
				if !errdefs.IsFailedPrecondition(err) {
					t.Errorf("planned %+v, error %v", plan, err)
				}
			case err != nil:
				t.Error(err)
			default:
				if got := strings.Join(tagsOf(plan.Kept), " "); got != test.kept || plan.OrderedBy != test.order || len(plan.Kept)+len(plan.Removed) != len(test.tags) {
					t.Errorf("kept %q by %q, removed %v", got, plan.OrderedBy, tagsOf(plan.Removed))
				}
			}
		})
	}
}

// TestAliases: tags of one release are one release, and go with it; other things in the repository are none.
func TestAliases(t *testing.T) {
	s := newScene(t)
	for _, tag := range []string{"v1.0.0", "v1.1.0", "v2.0.0"} {
		s.release(tag, "")
	}
	latest := clienttest.Must(s.client.Digest(t.Context(), s.parent, "v2.0.0"))
	older := clienttest.Must(s.client.Digest(t.Context(), s.parent, "v1.1.0"))
	for tag, d := range map[string]digest.Digest{"latest": latest, "v2": latest, "v1": older} {
		s.Tag("org/app", tag, d)
	}
	s.Tag("org/app", "plain", s.image("org/app", "plain", "").Digest)
	plan := s.prune(prune.Options{Keep: 1})
	if got := tagsOf(plan.Kept); !slices.Equal(got, []string{"latest"}) {
		t.Errorf("kept %q", got)
	}
	left := clienttest.Must(s.client.Tags(t.Context(), s.parent))
	slices.Sort(left)
	if want := []string{"latest", "plain", "v2", "v2.0.0"}; !slices.Equal(left, want) {
		t.Errorf("tags %q, want %q", left, want)
	}
}

// TestKept: what something else names stays, whatever it is: only the tags that protected it for the old release go.
func TestKept(t *testing.T) {
	for name, test := range map[string]struct {
		keep func(s *scene, web ocispec.Descriptor, old digest.Digest)
		goes bool
	}{
		"nothing":         {func(*scene, ocispec.Descriptor, digest.Digest) {}, true},
		"a tag of a user": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) { s.Tag("org/app/web", "stable", web.Digest) }, false},
		"an index of a user": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app/web", "all", s.Index("org/app/web", web).Digest)
		}, false},
		"a release": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.index("org/app", "", []string{"v9"}, map[string]ocispec.Descriptor{"web": web})
		}, false},
		"a release, without protection": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app", "v9", s.Index("org/app", registrytest.Member(web, "web")).Digest)
		}, false},
		"a release kept always": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app", "lts", s.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(web, "base")).Digest)
		}, false},
		"an index of a repository above the parent": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app/web", "nested-0123456789ab", web.Digest)
		}, false},
		"the old index, for one above the parent": {func(s *scene, web ocispec.Descriptor, old digest.Digest) {
			s.Tag("org/app", "nested-0123456789ab", old)
		}, false},
		"its digest as a tag": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app/web", "sha256-"+web.Digest.Encoded(), web.Digest)
		}, false},
		"what refers to it, with a tag": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app/web", "signature", s.Referrer("org/app/web", web, "application/vnd.test.signature").Digest)
		}, true}, // as registries do, a referrer does not keep its subject
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			web := s.release("v1", "")
			old := clienttest.Must(s.client.Digest(t.Context(), s.parent, "v1"))
			s.release("v2", "")
			test.keep(s, web, old)
			before := s.body(web)
			s.prune(prune.Options{Keep: 1, KeepTags: []string{"lts", "v9"}})
			if got := s.has("org/app/web", web); got == test.goes || before == "" {
				t.Errorf("the member is there: %t", got)
			}
			s.complete("org/app:v2")
			for _, tag := range clienttest.Must(s.client.Tags(t.Context(), s.parent)) {
				s.complete("org/app:" + tag)
				if tag == "v1" {
					t.Error("the release is there")
				}
			}
			for _, tag := range clienttest.Must(s.client.Tags(t.Context(), clienttest.Repository(t, s.Host()+"/org/app/web"))) {
				s.complete("org/app/web:" + tag)
				if protectsOld := tag == "nested-"+old.Encoded()[:12]; protectsOld && name != "the old index, for one above the parent" {
					t.Error("its tag is there")
				}
			}
		})
	}
}

func (s *scene) body(d ocispec.Descriptor) string { return s.Body(d.Digest) }

// TestUnknown: what could not be found out ends with an error before anything is deleted.
func TestUnknown(t *testing.T) {
	for name, spoil := range map[string]func(s *scene){
		"tags of a member: 403": func(s *scene) {
			s.Intercept(registrytest.Say(http.StatusForbidden, "application/json", `{"errors":[{"code":"DENIED"}]}`, registrytest.In("org/app/web"), registrytest.Of(registrytest.KindTags)))
		},
		"tags of a member: 500": func(s *scene) {
			s.Intercept(registrytest.Say(http.StatusInternalServerError, "text/plain", "no", registrytest.In("org/app/web"), registrytest.Of(registrytest.KindTags)))
		},
		"tags of a member: a page": func(s *scene) {
			s.Intercept(registrytest.Say(http.StatusOK, "text/html", "<html>", registrytest.In("org/app/web"), registrytest.Of(registrytest.KindTags)))
		},
		"tags of a member: other JSON": func(s *scene) {
			s.Intercept(registrytest.Say(http.StatusOK, "application/json", "{}", registrytest.In("org/app/web"), registrytest.Of(registrytest.KindTags)))
		},
		"a tag of the parent: 500": func(s *scene) {
			s.Intercept(registrytest.Say(http.StatusInternalServerError, "text/plain", "no", registrytest.In("org/app"), func(q registrytest.Request) bool { return q.Reference == "v2" }))
		},
		"an invalid index": func(s *scene) {
			s.Tag("org/app", "bad", s.Index("org/app", registrytest.Member(s.image("org/app/web", "x", ""), "../up")).Digest)
		},
		"an invalid index of a member": func(s *scene) {
			s.Tag("org/app/web", "bad", s.Index("org/app/web", registrytest.Member(s.image("org/app/web", "x", ""), "../up")).Digest)
		},
		"referrers: 500": func(s *scene) {
			s.Intercept(registrytest.Say(http.StatusInternalServerError, "text/plain", "no", registrytest.Of(registrytest.KindReferrers)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.release("v1", "")
			s.release("v2", "")
			spoil(s)
			ctx := new(clienttest.Pauses).In(t.Context())
			if plan, err := prune.New(ctx, s.client, s.parent, prune.Options{Keep: 1}); err == nil {
				t.Errorf("planned %+v", plan)
			}
			if n := s.Count(registrytest.Method(http.MethodDelete)); n != 0 {
				t.Errorf("%d deletions", n)
			}
		})
	}
}

// TestKilled: whenever the work ends, nothing that is there names what is not, and a second run ends it.
func TestKilled(t *testing.T) {
	for n := 0; ; n++ {
		s := newScene(t)
		db := s.image("org/app/data/db", "db", "")
		data := s.index("org/app/data", "", nil, map[string]ocispec.Descriptor{"db": db})
		web := s.image("org/app/web", "old", "")
		s.index("org/app", "", []string{"v1"}, map[string]ocispec.Descriptor{"web": web, "data": data})
		s.release("v2", "")
		plan := clienttest.Must(s.plan(prune.Options{Keep: 1}))
		killed := fmt.Errorf("killed")
		done := 0
		err := plan.Delete(t.Context(), func(prune.Deletion) error {
			if done++; done > n {
				return killed
			}
			return nil
		})
		for _, name := range []string{"org/app", "org/app/data", "org/app/web", "org/app/data/db"} {
			at := clienttest.Repository(t, s.Host()+"/"+name)
			tags, _ := s.client.Tags(t.Context(), at)
			for _, tag := range tags {
				s.complete(name + ":" + tag)
			}
		}
		if s.has("org/app/data", data) && !s.has("org/app/data/db", db) {
			t.Errorf("after %d deletions an index names what is not there", n)
		}
		if err == nil {
			if n < 5 || s.has("org/app/data/db", db) || s.has("org/app/data", data) || s.has("org/app/web", web) {
				t.Errorf("%d deletions: %+v", n, plan.Deletions)
			}
			return
		}
	}
}

// TestRegistriesThatDoNot: what becomes of it where a registry deletes nothing, no single tags, or more than the tag.
func TestRegistriesThatDoNot(t *testing.T) {
	tag := func(q registrytest.Request) bool { return strings.HasPrefix(q.Reference, "nested-") }
	t.Run("nothing", func(t *testing.T) {
		s := newScene(t)
		s.release("v1", "")
		s.release("v2", "")
		s.ResetIntercepts()
		plan := clienttest.Must(s.plan(prune.Options{Keep: 1}))
		err := plan.Delete(t.Context(), func(prune.Deletion) error { return nil })
		if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "storage.delete.enabled") || plan.Deletions[0].State != prune.Planned {
			t.Error(err)
		}
		s.complete("org/app:v1")
	})
	t.Run("no single tags", func(t *testing.T) {
		for _, status := range []int{http.StatusMethodNotAllowed, http.StatusBadRequest} {
			s := newScene(t)
			web := s.release("v1", "")
			s.release("v2", "")
			s.ResetIntercepts()
			s.Intercept(registrytest.Say(status, "application/json", `{"errors":[{"code":"UNSUPPORTED"}]}`, registrytest.Method(http.MethodDelete), tag))
			s.Intercept(s.Deletes())
			plan := s.prune(prune.Options{Keep: 1})
			states := map[prune.State]int{}
			for _, d := range plan.Deletions {
				states[d.State]++
			}
			if states[prune.Left] != 1 || states[prune.Planned] != 0 || s.has("org/app/web", web) {
				t.Errorf("%d: %v", status, states)
			}
			s.complete("org/app:v2")
		}
	})
	t.Run("what the tag names, too", func(t *testing.T) {
		s := newScene(t)
		s.release("v1", "")
		s.release("v2", "")
		base := s.image("org/app/base", "base", "")
		s.ResetIntercepts()
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if q := registrytest.Describe(r); q.Method == http.MethodDelete && tag(q) && q.Repository == "org/app/base" {
				s.Delete("org/app/base", base.Digest)
				w.WriteHeader(http.StatusAccepted)
				return true
			}
			return false
		})
		s.Intercept(s.Deletes())
		plan := clienttest.Must(s.plan(prune.Options{Keep: 1}))
		err := plan.Delete(t.Context(), func(prune.Deletion) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "delete no tags here") {
			t.Error(err)
		}
	})
}

// TestUnprotectWhereTagsAreManifests: a registry that deletes a member with the tag that protected it is noticed at the
// first one.
func TestUnprotectWhereTagsAreManifests(t *testing.T) {
	s := newScene(t)
	s.release("v1", "")
	s.ResetIntercepts()
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		q := registrytest.Describe(r)
		if q.Method != http.MethodDelete {
			return false
		}
		d, err := s.client.Digest(t.Context(), clienttest.Repository(t, s.Host()+"/"+q.Repository), q.Reference)
		if err != nil {
			return false
		}
		s.Delete(q.Repository, d)
		w.WriteHeader(http.StatusAccepted)
		return true
	})
	at := clienttest.Must(auth.ParseReference(s.Host() + "/org/app:v1"))
	err := prune.Unprotect(t.Context(), s.client, at, false, func(string) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "delete no tags here") {
		t.Error(err)
	}
	if n := s.Count(registrytest.Method(http.MethodDelete)); n != 1 {
		t.Errorf("%d deletions", n)
	}
}

// TestPushedMeanwhile: a release that comes between the plan and the deletions keeps what it names.
func TestPushedMeanwhile(t *testing.T) {
	s := newScene(t)
	web := s.release("v1", "")
	s.release("v2", "")
	plan := clienttest.Must(s.plan(prune.Options{Keep: 1}))
	done := 0
	err := plan.Delete(t.Context(), func(prune.Deletion) error {
		if done++; done == 1 { // the old index has gone
			s.index("org/app", "", []string{"v3"}, map[string]ocispec.Descriptor{"web": web})
		}
		return nil
	})
	if !errdefs.IsAborted(err) || !strings.Contains(err.Error(), "run the same command again") {
		t.Error(err)
	}
	s.complete("org/app:v3")
}

// TestTagsAreComparedTwice: the tags of the parent are compared with the plan before its own manifests go, and before those
// of its members do, and not again for each member.
func TestTagsAreComparedTwice(t *testing.T) {
	s := newScene(t)
	names := []string{"web", "base", "db", "data"}
	for _, tag := range []string{"v1", "v2"} {
		members := map[string]ocispec.Descriptor{}
		for _, name := range names {
			members[name] = s.image("org/app/"+name, name+tag, "")
		}
		s.index("org/app", "", []string{tag}, members)
	}
	plan := clienttest.Must(s.plan(prune.Options{Keep: 1}))
	s.ResetLog()
	clienttest.NoError(t, plan.Delete(t.Context(), func(prune.Deletion) error { return nil }))
	of := func(path string) func(registrytest.Request) bool {
		return func(r registrytest.Request) bool {
			return strings.HasSuffix(r.Path, path) && r.Method != http.MethodDelete
		}
	}
	if n := s.Count(of("/org/app/tags/list")); n != 2 {
		t.Errorf("%d lists of the parent's tags", n)
	}
	if n := s.Count(of("/org/app/manifests/v2")); n != 2 {
		t.Errorf("the parent's tag asked for %d times", n)
	}
	for _, name := range names {
		if n := s.Count(of("/org/app/" + name + "/tags/list")); n != 1 {
			t.Errorf("%d lists of the tags of %s", n, name)
		}
	}
	s.complete("org/app:v2")
}

// TestCopiesInTheParent: what a carrier's index finds in the parent stays, though an older release, an anchor, brought it
// there.
func TestCopiesInTheParent(t *testing.T) {
	s := newScene(t)
	web := s.image("org/app", "web", "")
	s.Tag("org/app", "v1", s.Index("org/app", registrytest.Member(web, "web")).Digest)
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{registrytest.Member(web, "web")}, Annotations: map[string]string{"release": "v2"}}
	index.SchemaVersion = 2
	body := clienttest.Encode(index)
	carrier, data, err := nested.NewCarrier(s.PutBlob("org/app", index.MediaType, body), body)
	clienttest.NoError(t, err)
	s.PutBlob("org/app", ocispec.MediaTypeEmptyJSON, []byte("{}"))
	s.Put("org/app", carrier.MediaType, data, "v2")
	s.complete("org/app:v2")
	s.prune(prune.Options{Keep: 1})
	if got := clienttest.Must(s.client.Tags(t.Context(), s.parent)); !slices.Equal(got, []string{"v2"}) {
		t.Errorf("tags %q", got)
	}
	s.complete("org/app:v2")
}

// TestTagMovedMeanwhile: a tag that is somebody else's by the time that it would be deleted stays, also where no
// manifest of its repository goes.
func TestTagMovedMeanwhile(t *testing.T) {
	for name, tag := range map[string]string{"of a release that is kept": "v1", "of a member that is kept": "base"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.release("v1", "")
			old := clienttest.Must(s.client.Digest(t.Context(), s.parent, "v1"))
			s.release("v2", "")
			repository, moved := "org/app", clienttest.Must(s.client.Digest(t.Context(), s.parent, "v2"))
			if tag == "v1" {
				s.Tag("org/app", "nested-0123456789ab", old)
			} else {
				repository, tag, moved = "org/app/base", "nested-"+old.Encoded()[:12], s.image("org/app/base", "other", "").Digest
			}
			plan := clienttest.Must(s.plan(prune.Options{Keep: 1}))
			s.Tag(repository, tag, moved)
			err := plan.Delete(t.Context(), func(prune.Deletion) error { return nil })
			if !errdefs.IsAborted(err) || !strings.Contains(err.Error(), tag+" has been pushed meanwhile") {
				t.Error(err)
			}
			if got := clienttest.Must(s.client.Digest(t.Context(), clienttest.Repository(t, s.Host()+"/"+repository), tag)); got != moved {
				t.Errorf("%s names %s", tag, got)
			}
		})
	}
}

// TestReferrers: what refers to a member goes with it, and stays with it.
func TestReferrers(t *testing.T) {
	s := newScene(t)
	web, other := s.release("v1", ""), s.release("v2", "")
	gone := s.Referrer("org/app/web", web, "application/vnd.test.signature")
	stays := s.Referrer("org/app/web", other, "application/vnd.test.signature")
	cosign := s.image("org/app/web", "cosign", "")
	s.Tag("org/app/web", "sha256-"+web.Digest.Encoded()+".sig", cosign.Digest)
	kept := s.image("org/app/web", "cosign of v2", "")
	s.Tag("org/app/web", "sha256-"+other.Digest.Encoded()+".sig", kept.Digest)
	s.prune(prune.Options{Keep: 1})
	if s.has("org/app/web", web) || s.has("org/app/web", gone) || s.has("org/app/web", cosign) {
		t.Error("what refers to the old member is there")
	}
	if !s.has("org/app/web", other) || !s.has("org/app/web", stays) || !s.has("org/app/web", kept) {
		t.Error("what refers to the new member has gone")
	}
}

// TestJSON: the plan is for programs, too.
func TestJSON(t *testing.T) {
	s := newScene(t)
	s.release("v1", "")
	s.release("v2", "2026-11-30T00:00:00Z")
	var plan struct {
		Parent, OrderedBy string
		Kept, Removed     []struct{ Tags []string }
		Deletions         []struct{ Repository, Tag, Digest, Kind, State string }
	}
	clienttest.NoError(t, json.Unmarshal(clienttest.Encode(clienttest.Must(s.plan(prune.Options{Keep: 1}))), &plan))
	if plan.OrderedBy != "version" || len(plan.Kept) != 1 || len(plan.Removed) != 1 || len(plan.Deletions) != 4 || plan.Deletions[0].Kind != "index" || plan.Deletions[0].State != "planned" {
		t.Errorf("%+v", plan)
	}
}

// TestCredentials: each repository is listed and deleted from with the credential that is held for it, and a credential
// that may not read one of them ends it before anything is deleted.
func TestCredentials(t *testing.T) {
	r := clienttest.NewRegistry(t, registrytest.WithTokenAuth())
	r.Intercept(r.Deletes())
	auths := map[string]any{}
	for _, name := range []string{"org/app", "org/app/web", "org/app/base"} {
		r.Allow("user of "+name, "password of "+name, name)
		auths[r.Host()+"/"+name] = clienttest.Entry("user of "+name, "password of "+name)
	}
	client := func(keys map[string]any) *registry.Client {
		return clienttest.NewClient(t, registry.Options{PlainHTTP: true, Credentials: clienttest.Stores(t, map[string]any{"auths": keys})})
	}
	s := &scene{r, t, client(auths), clienttest.Repository(t, r.Host()+"/org/app")}
	web := s.release("v1", "")
	s.release("v2", "")
	fewer := maps.Clone(auths)
	delete(fewer, r.Host()+"/org/app/base")
	fewer[r.Host()] = clienttest.Entry("user of org/app", "password of org/app")
	if plan, err := prune.New(t.Context(), client(fewer), s.parent, prune.Options{Keep: 1}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("planned %+v, error %v", plan, err)
	}
	s.prune(prune.Options{Keep: 1})
	if s.has("org/app/web", web) {
		t.Error("the old member is there")
	}
	for _, q := range r.Log(registrytest.Method(http.MethodDelete)) {
		if !strings.Contains(q.Authorization, "Bearer ") {
			t.Errorf("%+v", q)
		}
	}
}
