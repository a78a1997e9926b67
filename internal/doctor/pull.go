package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// maxManifests bounds the manifests of a REF that are pulled.
const maxManifests = 100

// pull pulls manifests, each as a program does it, from the reference's
// repository alone.
type pull struct {
	*doctor
	*client
	way  way
	from auth.Repository

	pulled       int
	repositories map[auth.Repository]bool // whose manifests they are
	failures     []Problem
	ended        string // why it went no further
}

// run pulls the manifest of a reference, and those that it leads to.
func (p *pull) run(ctx context.Context, ref auth.Reference) {
	p.repositories = map[auth.Repository]bool{}
	version := cmp.Or(ref.Digest().String(), ref.Tag())
	root := ocispec.Descriptor{Digest: ref.Digest()}
	if !p.way.inPath && !p.resolve(ctx, version, &root) { // containers/image does without HEAD
		return
	}
	rule := nested.NewRule(p.config.Nested.Keys(), nested.Limits{})
	seen := map[digest.Digest]bool{root.Digest: true}
	pending := []nested.Place{nested.PlaceIn(p.from, root)}
	for i := 0; i < len(pending) && p.ended == ""; i++ {
		if i == maxManifests {
			p.ended = "and more"
			return
		}
		for _, next := range p.manifest(ctx, rule, pending[i], cmp.Or(pending[i].Descriptor().Digest.String(), version)) {
			d := next.Descriptor()
			if oci.IsManifestOrIndex(d.MediaType) && digest.DigestRegexpAnchored.MatchString(d.Digest.String()) && !seen[d.Digest] { // otherwise it could be any path
				seen[d.Digest] = true
				pending = append(pending, next)
			}
		}
	}
}

// resolve asks what a version is with HEAD, as containerd, Docker Engine and
// BuildKit do, and reports whether there is an answer.
func (p *pull) resolve(ctx context.Context, version string, is *ocispec.Descriptor) bool {
	accept := strings.Join([]string{images.MediaTypeDockerSchema2Manifest, images.MediaTypeDockerSchema2ManifestList, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, "*/*"}, ", ")
	path := p.way.path(p.from, version)
	a, err := p.do(ctx, pullTime, http.MethodHead, path, accept)
	if err == nil && a.status == http.StatusOK {
		is.MediaType = registry.MediaType(a.header.Get("Content-Type"))
		if d := a.header.Get("Docker-Content-Digest"); is.Digest == "" && digest.DigestRegexpAnchored.MatchString(d) {
			is.Digest = digest.Digest(d)
		}
		return true
	}
	if err == nil { // for the reason, which an answer to HEAD cannot have
		status := a.status
		a, err = p.do(ctx, pullTime, http.MethodGet, path, accept)
		a.status = status
	}
	p.fail("", a, err)
	return false
}

// manifest pulls a manifest or index, and returns what it points to.
func (p *pull) manifest(ctx context.Context, rule nested.Rule, place nested.Place, version string) []nested.Place {
	a, err := p.do(ctx, pullTime, http.MethodGet, p.way.path(p.from, version), p.accept(place.Descriptor().MediaType)...)
	what := ""
	if place.Entry() {
		what = fmt.Sprintf("%s@%s: ", place.First(), oci.Short(place.Descriptor().Digest))
	}
	if err != nil || a.status != http.StatusOK {
		p.fail(what, a, err)
		return nil
	}
	d := ocispec.Descriptor{Digest: place.Descriptor().Digest, Size: int64(len(a.body))}
	mediaType, err := registry.ManifestType("the gateway", a.header.Get("Content-Type"), a.body)
	if bad := oci.Verify(d, a.body); err == nil && bad != "" && d.Digest != "" {
		err = fmt.Errorf("the gateway answers with other content: %s", bad)
	}
	var found []nested.Place
	if err == nil {
		found, _, err = rule.Follow(place.As(mediaType, d.Size), a.body, p.from)
	}
	if err != nil {
		p.failures = append(p.failures, problemsOf(fmt.Errorf("%s%w", what, err), p.fixOf(http.StatusBadRequest))...)
		return nil
	}
	p.pulled++
	p.repositories[place.First()] = true
	return found
}

// accept are the media types with which the program asks for a manifest.
func (p *pull) accept(mediaType string) []string {
	if p.way.inPath {
		return []string{ocispec.MediaTypeImageManifest, images.MediaTypeDockerSchema2Manifest, images.MediaTypeDockerSchema1Manifest,
			"application/vnd.docker.distribution.manifest.v1+json", images.MediaTypeDockerSchema2ManifestList, ocispec.MediaTypeImageIndex}
	}
	return []string{cmp.Or(mediaType, ocispec.MediaTypeImageIndex) + ", */*"}
}

// logIn gives a pull in mode pod the user's credential that the program would
// show: containers/image has one for the mirror, and the others show the
// gateway that for the registry.
func (p *pull) logIn(ctx context.Context) (err error) {
	if p.config.Gateway.Mode != "pod" || p.Credentials == nil {
		return nil
	}
	whose := p.from
	if p.way.inPath {
		if whose, err = auth.ParseRepository(p.address + "/" + gateway.InPath(p.from.Host()) + "/" + p.from.Name()); err != nil {
			return err
		}
	}
	p.user, err = p.Credentials.Lookup(ctx, whose)
	return err
}

// fail takes note of a manifest that did not come. Nothing more is asked of a
// gateway that does not answer, or that asks for a credential.
func (p *pull) fail(what string, a answer, err error) {
	if err == nil && p.wantsPod(a) && p.user.Username == "" {
		p.ended = "asks for a credential"
		return
	}
	if err != nil {
		p.ended = "does not answer"
	}
	p.failures = append(p.failures, p.answered(what, a, err)...)
}

// row is the outcome.
func (p *pull) row(ref auth.Reference) Row {
	r := Row{Reference: ref.String(), Failed: p.failures != nil}
	switch {
	case p.failures != nil:
		r.Result, r.Next = p.failures[0].What, p.failures[0].Fix
		n := len(p.failures)
		if n+p.pulled > 1 {
			r.Result = fmt.Sprintf("%s of %d did not come: %s", amount.Count(n, "manifest"), n+p.pulled, r.Result)
		}
		if n > 1 {
			r.Next += "; nestctl check " + r.Reference + " lists all"
		}
	case p.ended == "asks for a credential":
		r.Result, r.Next = "the gateway answers, and asks for the credential of a pod", "docker login "+p.from.Host()+" with it"
		if p.way.inPath {
			r.Next = "podman login " + p.address + " with it"
		}
	default:
		r.Result = fmt.Sprintf("pulled, %s of %d repositories", amount.Count(p.pulled, "manifest"), len(p.repositories))
		if len(p.repositories) == 1 {
			r.Result = fmt.Sprintf("pulled, %s of 1 repository", amount.Count(p.pulled, "manifest"))
		}
		if p.user.Username != "" {
			r.Result += ", with the credential of " + p.user.Source
		}
		if p.ended != "" {
			r.Result += ", " + p.ended + " that were not asked for"
		}
	}
	return r
}
