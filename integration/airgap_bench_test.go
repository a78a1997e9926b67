package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkCopySince compares copy --since with scripts that carry the same update across an air gap: two of a release's 20
// images have changed, and the far registry has the release before. nestctl writes an archive and reads it. The others have no
// such command: they keep a layout of the release before, as a plain index in one repository, and copy the update into it.
// What is new in the layout has to be carried, and neither packing nor carrying it is in their times. crane pushes layouts
// of one entry only, so that its script empties index.json first. Both registries are 20 ms away.
func BenchmarkCopySince(b *testing.B) {
	needs(b, "crane", "oras", "regctl", "skopeo")
	src, dst := farAway(b)
	base := baseLayer(b)
	earlier := newCopyFleet(b, base)
	changed := []member{newFleetMember(b, "m00", base), newFleetMember(b, "m01", base)}
	releases := map[string]node{"v0": earlier, "v1": newBundle(b, append(changed, earlier.members[len(changed):]...)...)}
	for tag, bundle := range releases {
		src.pushNode(b, "org/app", tag, bundle)
		src.pushNode(b, "org/plain", tag, newIndex(b, nodesOf(bundle)...))
	}
	gap := airgap{b, dockerConfig(b, nil, nil), b.TempDir(), src, dst}
	regctl := "regctl image copy --host reg=" + src.host + ",tls=disabled --host reg=" + dst.host + ",tls=disabled "
	skopeo := "skopeo --insecure-policy copy --quiet --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false "
	compareCopies(b, src, dst, []copier{
		gap.archives(),
		gap.layouts("regctl", regctl+"FROM ocidir://LAYOUT:TAG", regctl+"ocidir://LAYOUT:TAG TO"),
		gap.layouts("oras", "oras cp --from-plain-http --to-oci-layout FROM LAYOUT:TAG", "oras cp --to-plain-http --from-oci-layout LAYOUT:TAG TO"),
		gap.layouts("crane", "crane pull --insecure --format=oci FROM LAYOUT", "crane push --insecure LAYOUT TO"),
		gap.layouts("skopeo", skopeo+"docker://FROM oci:LAYOUT:TAG", skopeo+"oci:LAYOUT:TAG docker://TO"),
	})
	// Whoever is measured has done all of it.
	dst.whole(b, "nestctl/1/app", releases["v1"])
	for _, name := range []string{"regctl", "oras", "crane", "skopeo"} {
		for _, n := range nodesOf(releases["v1"]) {
			for _, c := range n.contents() {
				if !dst.has(b, name+"/1/app", c) {
					b.Errorf("%s has not carried %s", name, c.desc.Digest)
				}
			}
		}
	}
}

// airgap is what BenchmarkCopySince measures the tools with.
type airgap struct {
	b        *testing.B
	config   string // of docker
	dir      string
	src, dst *registry
}

// archives is nestctl, which keeps the archive of the release before.
func (g airgap) archives() copier {
	client := newNestctl(g.b, g.config)
	archive := func(tag string) string { return "oci-archive:" + filepath.Join(g.dir, tag+".tar") }
	save := func(tag string, more ...string) {
		client.run(g.b, append([]string{"copy", "--plain-http", "-q", g.src.ref("org/app", tag), archive(tag)}, more...)...)
	}
	save("v0")
	return copier{
		name: "nestctl",
		prepare: func(to string) {
			client.run(g.b, "copy", "--plain-http", "-q", archive("v0"), releaseBefore(to))
			must(g.b, os.RemoveAll(filepath.Join(g.dir, "v1.tar")))
		},
		copy: func(to string) {
			save("v1", "--since", archive("v0"))
			client.run(g.b, "copy", "--plain-http", "-q", archive("v1"), to)
			g.carried("nestctl", diskUse(filepath.Join(g.dir, "v1.tar")))
		},
	}
}

// layouts is a tool with commands that copy FROM a reference into LAYOUT, and from LAYOUT TO one, as TAG.
func (g airgap) layouts(name, save, load string) copier {
	earlier, layout := filepath.Join(g.dir, name+"-v0"), filepath.Join(g.dir, name)
	run := func(command, layout, to, tag string) {
		args := strings.Fields(strings.NewReplacer("FROM", g.src.ref("org/plain", tag), "LAYOUT", layout, "TAG", tag, "TO", to).Replace(command))
		tool(g.b, g.config, args[0], args[1:len(args)-1]...)(args[len(args)-1])
	}
	run(save, earlier, "", "v0")
	return copier{
		name: name,
		prepare: func(to string) {
			run(load, earlier, releaseBefore(to), "v0")
			must(g.b, os.RemoveAll(layout))
			must(g.b, os.CopyFS(layout, os.DirFS(earlier)))
			if name == "crane" {
				writeFile(g.b, filepath.Join(layout, "index.json"), `{"schemaVersion":2,"manifests":[]}`)
			}
		},
		copy: func(to string) {
			run(save, layout, "", "v1")
			run(load, layout, to, "v1")
			g.carried(name, diskUse(layout)-diskUse(earlier))
		},
	}
}

func (g airgap) carried(name string, size int64) {
	g.b.ReportMetric(float64(size)/(1<<20), "MiB-carried-"+name)
}

// releaseBefore is the reference at the far side of what was released before.
func releaseBefore(to string) string { return strings.TrimSuffix(to, ":v1") + ":v0" }

func nodesOf(bundle node) []node {
	var nodes []node
	for _, m := range bundle.members {
		nodes = append(nodes, m.node)
	}
	return nodes
}
