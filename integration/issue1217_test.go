package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The two uses that image-spec issue 1217 gives.

// madeIndex is what nestctl index create and add print.
type madeIndex struct {
	Strategy string
	Digest   digest.Digest
	Members  []string
}

// index makes or changes an index.
func (n nestctl) index(t *testing.T, command string, args ...string) madeIndex {
	t.Helper()
	var made madeIndex
	must(t, json.Unmarshal([]byte(n.run(t, append([]string{"index", command, "--plain-http", "--format", "json"}, args...)...).stdout), &made))
	return made
}

// pullLayout pulls into a layout of its own and returns its digests.
func (n nestctl) pullLayout(t *testing.T, ref string, more ...string) map[string]bool {
	t.Helper()
	layout := t.TempDir()
	n.run(t, append([]string{"pull", "--plain-http", "--quiet", "--all-platforms", "--to", "oci-layout:" + layout, ref}, more...)...)
	checkBlobs(t, layout)
	entries, err := os.ReadDir(layout + "/blobs/sha256")
	must(t, err)
	digests := map[string]bool{}
	for _, e := range entries {
		digests["sha256:"+e.Name()] = true
	}
	return digests
}

// checkExactly checks that what was pulled is an index and these nodes.
func checkExactly(t *testing.T, got map[string]bool, index digest.Digest, nodes ...node) {
	t.Helper()
	want := map[string]bool{index.String(): true}
	for _, n := range nodes {
		for _, d := range digestsOf(n) {
			want[d.String()] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("pulled %d, want %d: %q, want %q", len(got), len(want), slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// publishFor starts a registry with a user of its own for each repository, and one credential for each at the client.
func publishFor(t *testing.T, strict bool, names []string, to map[string]login) *registry {
	t.Helper()
	reg := registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, startTokenServer(t, pushers(names...)))
	for _, name := range names {
		to[reg.host+"/"+name] = loginOf(name)
	}
	return reg
}

// TestIssueKo: a ko build pushes its images below one repository, and one reference is for all of them.
func TestIssueKo(t *testing.T) {
	const images = 12
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %t", strict), func(t *testing.T) {
			base := baseLayer(t)
			var built []member
			for i := range images {
				built = append(built, member{fmt.Sprintf("cmd-%d-d41d8cd98f00b204e9800998ecf8427e", i), newImage(t, amd64, fmt.Sprintln("command", i), base)})
			}
			logins := map[string]login{}
			src := publishFor(t, false, repositories("org/ko-build", node{members: built}), logins)
			all := login{"release", "canary of release"}
			copies := map[string][]string{}
			for _, name := range repositories("prod/ko-build", node{members: built}) {
				copies[name] = []string{"pull", "push"}
			}
			dst := registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, startTokenServer(t, map[string]user{all.username: {password: all.password, rights: copies}}))
			logins[dst.host] = all
			client, args := newNestctl(t, dockerConfig(t, logins, nil)), []string{src.ref("org/ko-build", "v1")}
			var nodes []node
			for _, m := range built {
				src.pushNode(t, "org/ko-build/"+m.namespace, "latest", m.node)
				args, nodes = append(args, src.ref("org/ko-build/"+m.namespace, "latest")), append(nodes, m.node)
			}
			strategy := map[bool]string{false: "reference", true: "auto"}[strict]
			made := client.index(t, "create", append(args, "--strategy", strategy)...)
			if len(made.Members) != images {
				t.Errorf("made %+v", made)
			}
			checkExactly(t, client.pullLayout(t, args[0]), made.Digest, nodes...)

			ref := dst.ref("prod/ko-build", "v1")
			copied := client.copy(t, "--strategy", strategy, args[0], ref)
			if copied.Digest != made.Digest.String() || len(copied.Members) != images {
				t.Errorf("copied %+v", copied)
			}
			sent := only(dst.requests(), func(r request) bool { return r.Method == "PUT" && r.Kind == "uploads" })
			carried := 0
			if strict { // the index, and the carrier's config
				carried = 2
			}
			if want := 1 + 2*images; len(sent) != want+carried || copied.Uploaded != int64(want) || copied.There != images-1 {
				t.Errorf("%d uploads, want %d: the layer that all share once; %+v", len(sent), want+carried, copied)
			}
			checkExactly(t, client.pullLayout(t, ref), made.Digest, nodes...)
			checkExactly(t, client.pullLayout(t, ref, "--member", built[7].namespace), made.Digest, nodes[7])
			one := client.copy(t, "--member", built[3].namespace, args[0], dst.ref("prod/ko-build", "one"))
			if want := []string{dst.ref("prod/ko-build/"+built[3].namespace, nodes[3].desc.Digest.String())}; !slices.Equal(one.Members, want) || one.Uploaded != 0 {
				t.Errorf("copied %+v, want %q", one, want)
			}
		})
	}
}

// rpms are packages of an RPM repository, several versions in the repository of each.
type rpms struct {
	names   []string // as members are named in the index
	members []member
}

func newRPMs(t *testing.T, packages, versions int) rpms {
	t.Helper()
	r := rpms{}
	for p := range packages {
		for v := range versions {
			r.add(t, p, v)
		}
	}
	return r
}

// add makes a version of a package, and returns its tag.
func (r *rpms) add(t *testing.T, p, v int) (tag string) {
	t.Helper()
	name := fmt.Sprintf("lib%d", p)
	file := fmt.Sprintf("%s-1.%d-1.fc41.x86_64.rpm", name, v)
	rpm := randomBlob("application/x-rpm", 1<<12)
	rpm.desc.Annotations = map[string]string{ocispec.AnnotationTitle: file}
	r.names = append(r.names, file)
	r.members = append(r.members, member{name, newArtifact(t, "application/vnd.test.rpm", rpm)})
	return fmt.Sprintf("1.%d-1.fc41", v)
}

// of are the versions of a package, or of all.
func (r *rpms) of(name string) []node {
	var nodes []node
	for _, m := range r.members {
		if m.namespace == name || name == "" {
			nodes = append(nodes, m.node)
		}
	}
	return nodes
}

// publish pushes one of them and returns it as a source.
func (r *rpms) publish(t *testing.T, reg *registry, i int, tag string) string {
	t.Helper()
	repository := "org/myrpmrepo/" + r.members[i].namespace
	reg.pushNode(t, repository, tag, r.members[i].node)
	return r.names[i] + "=" + reg.ref(repository, tag)
}

// TestIssueRPM: an immutable RPM repository whose packages live in repositories of their own. An index that has been
// superseded still has all its members.
func TestIssueRPM(t *testing.T) {
	needs(t, "all")
	const packages, versions = 20, 3
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %t", strict), func(t *testing.T) {
			repo := newRPMs(t, packages, versions)
			var names, copies []string
			for p := range packages {
				names, copies = append(names, fmt.Sprintf("org/myrpmrepo/lib%d", p)), append(copies, fmt.Sprintf("mirror/rpms/lib%d", p))
			}
			logins := map[string]login{}
			reg := publishFor(t, strict, append(names, "org/myrpmrepo"), logins)
			dst := publishFor(t, strict, append(copies, "mirror/rpms"), logins)
			client, ref := newNestctl(t, dockerConfig(t, logins, nil)), reg.ref("org/myrpmrepo", "latest")
			args := []string{ref}
			for i := range repo.members {
				args = append(args, repo.publish(t, reg, i, fmt.Sprintf("1.%d-1.fc41", i%versions)))
			}
			first := client.index(t, "create", args...)
			before, beforeLib4 := repo.of(""), repo.of("lib4")
			if len(first.Members) != packages*versions {
				t.Errorf("%d members", len(first.Members))
			}
			checkNames(t, client, ref, repo.names)

			tag := repo.add(t, 4, versions)
			second := client.index(t, "add", ref, repo.publish(t, reg, len(repo.members)-1, tag))
			checkNames(t, client, ref, repo.names)
			checkExactly(t, client.pullLayout(t, ref), second.Digest, repo.of("")...)
			checkExactly(t, client.pullLayout(t, reg.ref("org/myrpmrepo", first.Digest.String())), first.Digest, before...)
			checkExactly(t, client.pullLayout(t, ref, "--member", "lib4"), second.Digest, repo.of("lib4")...)
			checkProtected(t, reg, "org/myrpmrepo/lib4", first.Digest, beforeLib4)
			checkProtected(t, reg, "org/myrpmrepo/lib4", second.Digest, repo.of("lib4"))
			checkProtected(t, reg, "org/myrpmrepo/lib5", second.Digest, repo.of("lib5"))

			layout := t.TempDir()
			client.copy(t, ref, "oci-layout:"+layout)
			checkBlobs(t, layout)
			copied := client.copy(t, "oci-layout:"+layout, dst.ref("mirror/rpms", "v1"))
			if copied.Digest != second.Digest.String() || len(copied.Members) != packages*versions+1 {
				t.Errorf("copied %+v", copied)
			}
			checkExactly(t, client.pullLayout(t, dst.ref("mirror/rpms", "v1")), second.Digest, repo.of("")...)
			checkProtected(t, dst, "mirror/rpms/lib4", second.Digest, repo.of("lib4"))
			checkNames(t, client, dst.ref("mirror/rpms", "v1"), repo.names)
		})
	}
}

// checkNames checks how an index names its entries.
func checkNames(t *testing.T, client nestctl, ref string, want []string) {
	t.Helper()
	var index ocispec.Index
	must(t, json.Unmarshal([]byte(client.run(t, "index", "show", "--plain-http", ref).stdout), &index))
	var got []string
	for _, d := range index.Manifests {
		got = append(got, d.Annotations[ocispec.AnnotationRefName])
		if d.ArtifactType != "application/vnd.test.rpm" || d.Platform != nil {
			t.Errorf("entry %+v", d)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}

// checkProtected checks that each of an index's members in a repository has a tag that keeps it.
func checkProtected(t *testing.T, reg *registry, repository string, index digest.Digest, members []node) {
	t.Helper()
	l := loginOf(repository)
	token, _ := askToken(t, reg.tokens, l.username, l.password, pullScope(repository))
	var list struct{ Tags []string }
	must(t, json.Unmarshal(reg.get(t, "/v2/"+repository+"/tags/list", token).body, &list))
	kept := map[digest.Digest]bool{}
	for _, tag := range list.Tags {
		if strings.HasPrefix(tag, "nested-"+index.Encoded()[:12]) {
			kept[digest.FromBytes(reg.get(t, "/v2/"+repository+"/manifests/"+tag, token).body)] = true
		}
	}
	if len(kept) != len(members) {
		t.Errorf("%s: %d tags, want %d: %q", repository, len(kept), len(members), list.Tags)
	}
	for _, m := range members {
		if !kept[m.desc.Digest] {
			t.Errorf("%s: %s has no tag of %s: %q", repository, m.desc.Digest, index, list.Tags)
		}
	}
}
