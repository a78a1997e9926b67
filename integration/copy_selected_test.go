package integration

import (
	"os"
	"slices"
	"testing"
)

// selectedAt copies a bundle's selection to a registry for everybody.
func selectedAt(t *testing.T, strict bool) (src *app, dst *registry, client nestctl) {
	t.Helper()
	src = publishAt(t, startRegistry(t, nil), newDeepApp(t))
	return src, strategyRow{options: registryOptions{strict: strict}}.start(t), newNestctl(t, dockerConfig(t, nil, nil))
}

// TestCopySelected: members that are not selected are not copied, and the index is the same; a registry that insists takes
// no index in the same repository that is not whole, and the error says what to do. An index that only has members of
// other platforms is a nested index nevertheless.
func TestCopySelected(t *testing.T) {
	for _, strict := range []bool{false, true} {
		src, dst, client := selectedAt(t, strict)
		asked, want := "auto", "carrier"
		if !strict {
			asked, want = "reference", "reference"
		}
		for path, members := range map[string][]string{"web": {"web"}, "data": {"data", "data/db"}, "data/db": {"data/db"}} {
			got := client.copy(t, "--strategy", asked, "--member", path, src.ref, dst.ref("member/"+path, "v1"))
			var refs []string
			for _, m := range members {
				refs = append(refs, dst.ref("member/"+path+"/"+m, digestAt(src.bundle, m)))
			}
			if got.Strategy != want || got.Digest != src.bundle.desc.Digest.String() || !slices.Equal(got.Members, refs) {
				t.Errorf("copied %+v, want %q as %s", got, refs, want)
			}
			client.pullLayout(t, dst.ref("member/"+path, "v1"), "--member", path)
		}
		args := []string{"copy", "--plain-http", "--platform", "linux/arm64", "--member"}
		if !strict {
			client.run(t, append(args, "web", src.ref, dst.ref("platform", "v1"))...)
		} else {
			client.fails(t, exitFailure, []string{dst.host + " wants all", "--flatten"}, append(args, "web", src.ref, dst.ref("platform", "v1"))...)
		}
		client.run(t, append(args, "web", "--flatten", src.ref, dst.ref("flat", "v1"))...)
		client.pullLayout(t, dst.ref("flat", "v1"))
		dst.requests()
		client.fails(t, exitNotFound, []string{"matches nope", "there is also: data, rpm"}, "copy", "--plain-http", "--member", "web", "--member", "nope", src.ref, dst.ref("none", "v1"))
		if log := dst.requests(); len(log) > 0 {
			t.Errorf("asked: %+v", log)
		}
		// The artifact has no platform, and of data nothing is for this one.
		src.pushNode(t, "org/other", "v1", newBundle(t, src.bundle.members[1:]...))
		if got := client.copy(t, "--strategy", asked, "--platform", "linux/arm64", src.registry.ref("org/other", "v1"), dst.ref("other", "v1")); got.Strategy != want {
			t.Errorf("copied %+v", got)
		}
		client.pullLayout(t, dst.ref("other", "v1"), "--member", "rpm")
	}
}

// digestAt is the digest of a member at a path.
func digestAt(bundle node, path string) string {
	for _, m := range bundle.members {
		if m.namespace == path {
			return m.node.desc.Digest.String()
		}
		if rest := path[min(len(path), len(m.namespace)+1):]; len(m.node.members) > 0 && path == m.namespace+"/"+rest {
			return digestAt(m.node, rest)
		}
	}
	return ""
}

// TestCopySparseLayout: what a layout has lost is an error, or left out and named, with and without referrers.
func TestCopySparseLayout(t *testing.T) {
	src, dst, client := selectedAt(t, true)
	layout, lost := t.TempDir(), src.bundle.members[1].node.desc.Digest
	client.copy(t, src.ref, "oci-layout:"+layout)
	must(t, os.Remove(blobPath(layout, lost)))
	for _, more := range []string{"--referrers=false", "--referrers"} {
		client.fails(t, exitNotFound, []string{lost.Encoded()}, "copy", "--plain-http", more, "oci-layout:"+layout, dst.ref("shop", "v1"))
		if dst.holds(t, "shop", "manifests/v1") {
			t.Error("tagged")
		}
		got := client.copy(t, "--sparse", more, "oci-layout:"+layout, dst.ref("sparse", "v1"))
		if len(got.Missing) != 1 || len(got.Members) != 3 {
			t.Errorf("copied %+v", got)
		}
	}
}
