package integration

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newToolsBundle has an index for two platforms, an image, and an artifact whose file has a name, as oras wants it.
func newToolsBundle(t *testing.T) node {
	t.Helper()
	rpm := randomBlob("application/x-rpm", 1<<16)
	rpm.desc.Annotations = map[string]string{ocispec.AnnotationTitle: "hello.rpm"}
	base := baseLayer(t)
	return newBundle(t,
		member{"web", newIndex(t, newImage(t, amd64, "web\n", base), newImage(t, arm64, "web\n", base))},
		member{"worker", newImage(t, amd64, "worker\n", base)},
		member{"rpm", newArtifact(t, "application/vnd.test.rpm", rpm)})
}

// TestOtherToolsAlone: what an anchor and a flat copy have in one repository is enough for crane, oras and regctl, which
// know nothing of child namespaces and ask no other repository.
func TestOtherToolsAlone(t *testing.T) {
	for _, row := range strategyRows {
		t.Run(row.name, func(t *testing.T) {
			tools := newOtherTools(t, row.start(t))
			bundle := newToolsBundle(t)
			client := newNestctl(t, dockerConfig(t, nil, nil))
			made := createIndex(t, tools.registry, "anchor", bundle)
			if made.code != exitOK {
				t.Fatalf("exit code %d\n%s", made.code, made.stderr)
			}
			var anchor struct{ Digest digest.Digest }
			must(t, json.Unmarshal([]byte(made.stdout), &anchor))
			tools.checkAlone(t, "org/anchor", anchor.Digest, bundle)
			flat := client.copy(t, "--flatten", tools.registry.ref("org/anchor", "v1"), tools.registry.ref("flat/app", "v1"))
			tools.checkAlone(t, "flat/app", digest.Digest(flat.Digest), bundle)
		})
	}
}

// checkAlone pulls a repository's index, and all that is in it, with each tool.
func (o otherTools) checkAlone(t *testing.T, repository string, want digest.Digest, bundle node) {
	t.Helper()
	ref, all := o.registry.ref(repository, "v1"), append(digestsOf(bundle)[1:], want)
	o.registry.requests()
	for tool, manifest := range map[string]string{
		"crane":  o.crane(t, "manifest", ref),
		"oras":   o.oras(t, "manifest", "fetch", "--plain-http", ref),
		"regctl": o.regctl(t, "manifest", "get", "--format", "raw-body", ref),
	} {
		if got := digest.FromString(manifest); got != want {
			t.Errorf("%s: %s is %s, not %s", tool, ref, got, want)
		}
	}
	o.crane(t, "validate", "--remote", ref)

	byCrane, byOras, byRegctl := t.TempDir(), t.TempDir(), t.TempDir()
	o.crane(t, "pull", "--format", "oci", ref, byCrane)
	o.oras(t, "cp", "-r", "--from-plain-http", "--to-oci-layout", ref, byOras+":v1")
	o.regctl(t, "image", "copy", "--referrers", ref, "ocidir://"+byRegctl+":v1")
	for _, layout := range []string{byCrane, byOras, byRegctl} {
		checkBlobs(t, layout)
		checkHas(t, layout, all...)
	}

	rpm, files := bundle.members[2].node, t.TempDir()
	o.oras(t, "pull", "--plain-http", "--output", files, o.registry.ref(repository, rpm.desc.Digest.String()))
	if got := readText(t, filepath.Join(files, "hello.rpm")); digest.FromString(got) != rpm.blobs[0].desc.Digest {
		t.Error("oras pulled another file")
	}
	for _, line := range o.registry.requests() {
		if line.Kind != "base" && line.Repository != repository {
			t.Errorf("request %+v", line)
		}
	}

	for tool, copyTo := range map[string]func(string){
		"crane":  func(to string) { o.crane(t, "copy", ref, to) },
		"oras":   func(to string) { o.oras(t, "cp", "-r", "--from-plain-http", "--to-plain-http", ref, to) },
		"regctl": func(to string) { o.regctl(t, "image", "copy", ref, to) },
	} {
		to := o.registry.ref("copies/"+repository+"/"+tool, "v1")
		copyTo(to)
		o.checkRemote(t, to, want.String())
	}
}

// TestOtherToolsCopied: the tools verify each member that nestctl copied to another registry, and all that it copied to a
// layout.
func TestOtherToolsCopied(t *testing.T) {
	bundle := newToolsBundle(t)
	src := startRegistry(t, nil)
	made := createIndex(t, src, "reference", bundle)
	if made.code != exitOK {
		t.Fatalf("exit code %d\n%s", made.code, made.stderr)
	}
	var index struct{ Digest digest.Digest }
	must(t, json.Unmarshal([]byte(made.stdout), &index))
	client := newNestctl(t, dockerConfig(t, nil, nil))
	for _, row := range strategyRows {
		t.Run(row.name, func(t *testing.T) {
			tools := newOtherTools(t, row.start(t))
			copied := client.copy(t, src.ref("org/reference", "v1"), tools.registry.ref("prod/shop", "v1"))
			if len(copied.Members) != len(bundle.members) || copied.Digest != index.Digest.String() {
				t.Errorf("copied %+v", copied)
			}
			for _, ref := range copied.Members {
				_, want, _ := strings.Cut(ref, "@")
				tools.checkRemote(t, ref, want)
				byOras, byRegctl := t.TempDir(), t.TempDir()
				tools.oras(t, "cp", "-r", "--from-plain-http", "--to-oci-layout", ref, byOras)
				tools.regctl(t, "image", "copy", ref, "ocidir://"+byRegctl)
				checkBlobs(t, byOras)
				checkBlobs(t, byRegctl)
			}

			layout := t.TempDir()
			client.copy(t, tools.registry.ref("prod/shop", "v1"), "oci-layout:"+layout)
			checkBlobs(t, layout)
			checkHas(t, layout, append(digestsOf(bundle)[1:], index.Digest)...)
			for tool, manifest := range map[string]string{
				"oras":   tools.oras(t, "manifest", "fetch", "--oci-layout", layout+":v1"),
				"regctl": tools.regctl(t, "manifest", "get", "--format", "raw-body", "ocidir://"+layout+":v1"),
			} {
				if got := digest.FromString(manifest); got != index.Digest {
					t.Errorf("%s reads %s from the layout, not %s", tool, got, index.Digest)
				}
			}
			byOras, byRegctl := tools.registry.ref("flat/oras", "v1"), tools.registry.ref("flat/regctl", "v1")
			tools.oras(t, "cp", "-r", "--from-oci-layout", "--to-plain-http", layout+":v1", byOras)
			tools.regctl(t, "image", "copy", "ocidir://"+layout+":v1", byRegctl)
			tools.checkRemote(t, byOras, index.Digest.String())
			tools.checkRemote(t, byRegctl, index.Digest.String())
		})
	}
}

// TestOtherToolsReferrers: what oras and regctl attached to members, and to what they attached, comes along with nestctl
// copy --referrers, whether a registry has the referrers API or lists them by tag; oras discovers it there.
func TestOtherToolsReferrers(t *testing.T) {
	kinds := map[string]registryOptions{
		"api":         {kind: goContainerRegistry, referrers: true},
		"tags":        {},
		"tags strict": {strict: true},
		"old tags":    {kind: dockerRegistry},
	}
	for _, from := range []string{"api", "tags"} {
		t.Run(from, func(t *testing.T) {
			src, bundle := newOtherTools(t, strategyRow{options: kinds[from]}.start(t)), newToolsBundle(t)
			if made := createIndex(t, src.registry, "auto", bundle); made.code != exitOK {
				t.Fatalf("exit code %d\n%s", made.code, made.stderr)
			}
			want := src.attachAll(t, "org/auto", bundle)
			client, root, layout := newNestctl(t, dockerConfig(t, nil, nil)), src.registry.ref("org/auto", "v1"), "oci-layout:"+t.TempDir()
			client.copy(t, "--referrers", root, layout)
			for to, options := range kinds {
				t.Run(to, func(t *testing.T) {
					dst := newOtherTools(t, strategyRow{options: options}.start(t))
					client.copy(t, root, dst.registry.ref("without/shop", "v1"))
					for _, m := range bundle.members {
						if got := dst.discover(t, dst.registry.ref("without/shop/"+m.namespace, m.node.desc.Digest.String())); len(got) > 0 {
							t.Errorf("without --referrers: %q", got)
						}
					}
					client.copy(t, "--referrers", root, dst.registry.ref("direct/shop", "v1"))
					client.copy(t, "--referrers", layout, dst.registry.ref("layout/shop", "v1"))
					dst.checkDiscovered(t, "direct/shop", want)
					dst.checkDiscovered(t, "layout/shop", want)
				})
			}
		})
	}
}

// attachAll attaches to each member, and to one of what was attached, and returns the digests by MEMBER@SUBJECT.
func (o otherTools) attachAll(t *testing.T, parent string, bundle node) map[string][]string {
	t.Helper()
	writeFile(t, filepath.Join(o.dir, "sbom.json"), `{"made":"`+t.Name()+`"}`)
	attached := map[string][]string{}
	attach := func(namespace string, subject digest.Digest, artifactType string) digest.Digest {
		t.Helper()
		ref := o.registry.ref(parent+"/"+namespace, subject.String())
		var made struct{ Digest digest.Digest }
		must(t, json.Unmarshal([]byte(o.oras(t, "attach", "--plain-http", "--format", "json", "--artifact-type", artifactType, ref, "sbom.json:application/json")), &made))
		key := namespace + "@" + subject.String()
		attached[key] = append(attached[key], made.Digest.String())
		return made.Digest
	}
	for _, m := range bundle.members {
		sbom := attach(m.namespace, m.node.desc.Digest, "application/vnd.test.sbom")
		attach(m.namespace, sbom, "application/vnd.test.signature")
	}
	worker := bundle.members[1].node.desc.Digest
	o.regctl(t, "artifact", "put", "--artifact-type", "application/vnd.test.signature", "--file", "sbom.json", "--subject", o.registry.ref(parent+"/worker", worker.String()))
	key := "worker@" + worker.String()
	attached[key] = o.discover(t, o.registry.ref(parent+"/worker", worker.String()))
	if len(attached[key]) != 2 {
		t.Errorf("attached %q", attached[key])
	}
	return attached
}

// discover are the digests of what oras finds that refers to something.
func (o otherTools) discover(t *testing.T, ref string) []string {
	t.Helper()
	var found struct{ Referrers []struct{ Digest string } }
	must(t, json.Unmarshal([]byte(o.oras(t, "discover", "--plain-http", "--depth", "1", "--format", "json", ref)), &found))
	var digests []string
	for _, r := range found.Referrers {
		digests = append(digests, r.Digest)
	}
	return digests
}

// checkDiscovered checks that oras finds and pulls what was attached.
func (o otherTools) checkDiscovered(t *testing.T, parent string, want map[string][]string) {
	t.Helper()
	for subject, referrers := range want {
		namespace, d, _ := strings.Cut(subject, "@")
		got := o.discover(t, o.registry.ref(parent+"/"+namespace, d))
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(referrers))) {
			t.Errorf("%s: oras discovers of %s %q, want %q", parent, subject, got, referrers)
		}
		for _, r := range referrers {
			o.oras(t, "pull", "--plain-http", "--output", t.TempDir(), o.registry.ref(parent+"/"+namespace, r))
		}
	}
}
