package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// publisher puts bundles into the registry, and names their content for the
// request log and for the environment: the digest of web.layer is $WEB_LAYER.
type publisher struct {
	*scene
	setenv func(key, value string)
}

func (p publisher) name(name string, d ocispec.Descriptor) ocispec.Descriptor {
	if _, ok := p.names[d.Digest]; !ok {
		p.names[d.Digest] = name
	}
	p.setenv(strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(name)), d.Digest.String())
	return d
}

func (p publisher) blob(name, repository, mediaType, body string) ocispec.Descriptor {
	d := p.name(name, p.registry.PutBlob(repository, mediaType, []byte(body)))
	p.bodies[d.Digest] = []byte(body)
	if p.places[d.Digest] == nil {
		p.places[d.Digest] = map[string]bool{}
	}
	p.places[d.Digest][repository] = true
	return d
}

func (p publisher) document(name, repository, mediaType string, value any) ocispec.Descriptor {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	d := p.name(name, p.registry.Put(repository, mediaType, body))
	p.bodies[d.Digest] = body
	return d
}

func (p publisher) index(name, repository string, entries ...ocispec.Descriptor) ocispec.Descriptor {
	return p.document(name, repository, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: entries,
	})
}

// image publishes an image of two layers: the base, which all images share,
// and one of its own.
func (p publisher) image(name, repository, platform string) ocispec.Descriptor {
	os, architecture, _ := strings.Cut(platform, "/")
	base := registrytest.TarLayer(map[string]string{"etc/os-release": "base\n"})
	own := registrytest.TarLayer(map[string]string{"bin/" + name: name + "\n"})
	config := ocispec.Image{
		Platform: ocispec.Platform{OS: os, Architecture: architecture},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(base), digest.FromBytes(own)}},
	}
	body, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	d := p.manifest(name, repository, p.blob(name+".config", repository, ocispec.MediaTypeImageConfig, string(body)), "",
		p.blob("base", repository, ocispec.MediaTypeImageLayer, string(base)),
		p.blob(name+".layer", repository, ocispec.MediaTypeImageLayer, string(own)))
	d.Platform = &config.Platform
	return d
}

func (p publisher) manifest(name, repository string, config ocispec.Descriptor, artifactType string, layers ...ocispec.Descriptor) ocispec.Descriptor {
	d := p.document(name, repository, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType,
		Config:       config,
		Layers:       layers,
	})
	d.ArtifactType = artifactType
	return d
}

// artifact publishes an artifact of one blob.
func (p publisher) artifact(name, repository, artifactType, mediaType, body string) ocispec.Descriptor {
	return p.manifest(name, repository, p.blob("empty", repository, ocispec.MediaTypeEmptyJSON, "{}"), artifactType,
		p.blob(name+".blob", repository, mediaType, body))
}

func (p publisher) tag(repository, tag string, d ocispec.Descriptor) {
	p.registry.Tag(repository, tag, d.Digest)
}

var member = registrytest.Member

// bundles are what the command publish knows.
var bundles = map[string]func(publisher){
	"app":     publishApp,
	"many":    publishMany,
	"plain":   publishPlain,
	"carrier": publishCarrier,
	"big":     publishBig,
	"odd":     publishOdd,
	"foreign": publishForeign,
	"copies":  publishCopies,
	"clash":   publishClash,
	"twice":   publishTwice,
	"strange": publishStrange,
	"signed":  publishSigned,
}

// publishApp: org/app:v1 with an image for amd64, one for two platforms, a
// nested index and an artifact.
func publishApp(p publisher) {
	worker := p.index("worker", "org/app/worker",
		p.image("worker-amd64", "org/app/worker", "linux/amd64"),
		p.image("worker-arm64", "org/app/worker", "linux/arm64"))
	tools := p.index("tools", "org/app/tools",
		member(p.image("cli", "org/app/tools/cli", "linux/amd64"), "cli"),
		member(p.image("lint", "org/app/tools/lint", "linux/arm64"), "lint"))
	p.tag("org/app", "v1", p.index("app", "org/app",
		member(p.image("web", "org/app/web", "linux/amd64"), "web"),
		member(worker, "worker"),
		member(tools, "tools"),
		member(p.artifact("rpm", "org/app/rpm", "application/x-rpm", "application/x-rpm", "an rpm"), "rpm")))
}

// publishMany: org/many:v1 with 20 members, 3 layers each, one shared by all.
func publishMany(p publisher) {
	var members []ocispec.Descriptor
	for i := range 20 {
		name := fmt.Sprintf("m%02d", i)
		repository := "org/many/" + name
		config := p.blob(name+".config", repository, ocispec.MediaTypeImageConfig, `{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:`+name[1:]+`Z"}`)
		layers := []ocispec.Descriptor{
			p.blob("base", repository, ocispec.MediaTypeImageLayer, "shared by all"),
			p.blob(name+".layer1", repository, ocispec.MediaTypeImageLayer, name+" one"),
			p.blob(name+".layer2", repository, ocispec.MediaTypeImageLayer, name+" two"),
		}
		members = append(members, member(p.manifest(name, repository, config, "", layers...), name))
	}
	p.tag("org/many", "v1", p.index("many", "org/many", members...))
}

// publishPlain: org/plain:v1 is an image, :both an index of two, and :nested an
// index over that, all in one repository.
func publishPlain(p publisher) {
	amd64, arm64 := p.image("plain-amd64", "org/plain", "linux/amd64"), p.image("plain-arm64", "org/plain", "linux/arm64")
	p.tag("org/plain", "v1", amd64)
	both := p.index("both", "org/plain", amd64, arm64)
	p.tag("org/plain", "both", both)
	p.tag("org/plain", "nested", p.index("over", "org/plain", both))
}

// publishCarrier: org/carried:v1 is a carrier of an index with the member web,
// which is a carrier of an index with the member deep.
func publishCarrier(p publisher) {
	carry := func(name, repository string, members ...ocispec.Descriptor) ocispec.Descriptor {
		index := p.index(name, repository, members...)
		p.registry.Delete(repository, index.Digest)
		body, err := json.Marshal(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: members,
		})
		if err != nil {
			panic(err)
		}
		layer := p.blob(name, repository, ocispec.MediaTypeImageIndex, string(body))
		return p.manifest(name+".carrier", repository, p.blob("empty", repository, ocispec.MediaTypeEmptyJSON, "{}"),
			"application/vnd.nestedoci.carrier.v1+json", layer)
	}
	deep := carry("inner", "org/carried/web", member(p.image("deep", "org/carried/web/deep", "linux/amd64"), "deep"))
	p.tag("org/carried", "v1", carry("outer", "org/carried", member(deep, "web")))
}

// publishBig: org/big:v1 with one member, whose layer is of 3 MiB.
func publishBig(p publisher) {
	config := p.blob("big.config", "org/big/one", ocispec.MediaTypeImageConfig, `{"architecture":"amd64","os":"linux"}`)
	layer := p.blob("big.layer", "org/big/one", ocispec.MediaTypeImageLayer, strings.Repeat("0123456789abcdef", 3<<16))
	p.tag("org/big", "v1", p.index("big", "org/big", member(p.manifest("one", "org/big/one", config, "", layer), "one")))
}

// publishOdd: org/odd:v1 with members of unusual types.
func publishOdd(p publisher) {
	config := p.blob("odd.config", "org/odd/config", "application/vnd.example.config", "not json")
	opaque := p.blob("opaque", "org/odd/opaque", "application/vnd.example.opaque", "a blob as a member")
	p.tag("org/odd", "v1", p.index("odd", "org/odd",
		member(p.artifact("none", "org/odd/none", "application/vnd.example.none", "text/plain", ""), "none"),
		member(p.manifest("config", "org/odd/config", config, ""), "config"),
		member(opaque, "opaque")))
}

// publishForeign: org/foreign:v1 has control characters in all strings that
// may have them.
func publishForeign(p publisher) {
	const evil = "\x1b[31mred\a\n\x1b]8;;http://evil.test\x1b\\link\u009b\u202e"
	d := p.artifact("foreign-member", "org/foreign/one", "application/"+evil, "text/plain", "body")
	d.Annotations = map[string]string{"evil" + evil: evil}
	d.Platform = &ocispec.Platform{OS: "linux" + evil, Architecture: "amd64", Variant: evil}
	blob := p.blob("foreign-blob", "org/foreign/two", "text/plain", "body")
	p.tag("org/foreign", "v1", p.index("foreign", "org/foreign", member(d, "one"), member(blob, "two")))
	blob.MediaType = "text/" + evil
	p.tag("org/foreign", "type", p.index("foreign-type", "org/foreign", member(blob, "two")))
}

// publishCopies: org/copies:v1 has the member web only in the parent.
func publishCopies(p publisher) {
	p.tag("org/copies", "v1", p.index("copies", "org/copies", member(p.image("copied", "org/copies", "linux/amd64"), "web")))
}

// publishClash: org/clash:v1 has members whose names differ in punctuation.
func publishClash(p publisher) {
	p.tag("org/clash", "v1", p.index("clash", "org/clash",
		member(p.image("first", "org/clash/a-b", "linux/amd64"), "a-b"),
		member(p.image("second", "org/clash/a/b", "linux/amd64"), "a/b")))
}

// publishTwice: org/twice:v1 has two members in one repository, :v2 and :v3 one
// of them each, and all have another.
func publishTwice(p publisher) {
	one, two := member(p.image("one", "org/twice/web", "linux/amd64"), "web"), member(p.image("two", "org/twice/web", "linux/amd64"), "web")
	other := member(p.image("other", "org/twice/worker", "linux/amd64"), "worker")
	p.tag("org/twice", "v1", p.index("twice", "org/twice", one, two, other))
	p.tag("org/twice", "v2", p.index("twice-one", "org/twice", one, other))
	p.tag("org/twice", "v3", p.index("twice-two", "org/twice", two, other))
}

// publishStrange: org/strange:v1 has a manifest of an unknown media type.
func publishStrange(p publisher) {
	one := p.document("strange-one", "org/strange/one", "application/vnd.example.thing+json", map[string]int{"schemaVersion": 2})
	p.tag("org/strange", "v1", p.index("strange", "org/strange", member(one, "one")))
}

// publishSigned: org/signed:v1 has a member that refers to something that is
// not in its repository, and one that has what it refers to beside it.
func publishSigned(p publisher) {
	subject := p.image("subject", "org/signed/elsewhere", "linux/amd64")
	image := p.image("signed-image", "org/signed/pair", "linux/amd64")
	p.tag("org/signed", "v1", p.index("signed", "org/signed",
		member(p.name("signature", p.registry.Referrer("org/signed/sig", subject, "application/vnd.example.signature")), "sig"),
		member(p.index("pair", "org/signed/pair", image, p.registry.Referrer("org/signed/pair", image, "application/vnd.example.signature")), "pair")))
}
