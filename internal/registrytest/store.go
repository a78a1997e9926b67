package registrytest

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// repository is the content of one repository.
type repository struct {
	manifests map[digest.Digest]content
	blobs     map[digest.Digest]content
	tags      map[string]digest.Digest
}

type content struct {
	mediaType string
	body      []byte
}

func (c content) descriptor(dgst digest.Digest) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: c.mediaType, Digest: dgst, Size: int64(len(c.body))}
}

// repository answers the named repository, made when missing. The caller holds r.mu.
func (r *Registry) repository(name string) *repository {
	found, ok := r.repositories[name]
	if !ok {
		found = &repository{
			manifests: map[digest.Digest]content{},
			blobs:     map[digest.Digest]content{},
			tags:      map[string]digest.Digest{},
		}
		r.repositories[name] = found
	}
	return found
}

// Put stores a manifest or an index, as it is, and tags it.
func (r *Registry) Put(repository, mediaType string, body []byte, tags ...string) ocispec.Descriptor {
	dgst := digest.FromBytes(body)
	r.PutAs(repository, mediaType, dgst, body)
	for _, tag := range tags {
		r.Tag(repository, tag, dgst)
	}
	return content{mediaType, body}.descriptor(dgst)
}

// PutAs stores a manifest or an index under a digest that need not be its own.
func (r *Registry) PutAs(repository, mediaType string, dgst digest.Digest, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repository(repository).manifests[dgst] = content{mediaType, slices.Clone(body)}
}

// PutBlob stores a blob. The media type is only for the descriptor.
func (r *Registry) PutBlob(repository, mediaType string, body []byte) ocispec.Descriptor {
	dgst := digest.FromBytes(body)
	r.PutBlobAs(repository, dgst, body)
	return content{mediaType, body}.descriptor(dgst)
}

// PutBlobAs stores a blob under a digest that need not be its own.
func (r *Registry) PutBlobAs(repository string, dgst digest.Digest, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repository(repository).blobs[dgst] = content{"application/octet-stream", slices.Clone(body)}
}

// Tag names a manifest, which need not exist. A tag that exists moves.
func (r *Registry) Tag(repository, tag string, dgst digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repository(repository).tags[tag] = dgst
}

// Delete removes the manifest and the blob of that digest, and the tags that name it.
func (r *Registry) Delete(repository string, dgst digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.repository(repository)
	delete(from.manifests, dgst)
	delete(from.blobs, dgst)
	maps.DeleteFunc(from.tags, func(_ string, tagged digest.Digest) bool { return tagged == dgst })
}

// remove removes what a request names, and reports whether it was there.
func (r *Registry) remove(q Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, dgst := r.repository(q.Repository), digest.Digest(q.Reference)
	_, tagged := from.tags[q.Reference]
	if q.Kind == KindManifest && tagged {
		delete(from.tags, q.Reference)
		return true
	}
	kept := from.blobs
	if q.Kind == KindManifest {
		kept = from.manifests
		maps.DeleteFunc(from.tags, func(_ string, tagged digest.Digest) bool { return tagged == dgst })
	}
	_, there := kept[dgst]
	delete(kept, dgst)
	return there
}

// Body is content of any repository, nothing when none has it.
func (r *Registry) Body(dgst digest.Digest) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, from := range r.repositories {
		for _, kept := range []map[digest.Digest]content{from.manifests, from.blobs} {
			if c, ok := kept[dgst]; ok {
				return string(c.body)
			}
		}
	}
	return ""
}

// manifest finds a manifest by digest or tag.
func (r *Registry) manifest(repository, reference string) (content, digest.Digest, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, ok := r.repositories[repository]
	if !ok {
		return content{}, "", false
	}
	dgst, tagged := from.tags[reference]
	if !tagged {
		dgst = digest.Digest(reference)
	}
	found, ok := from.manifests[dgst]
	return found, dgst, ok
}

func (r *Registry) blob(repository, reference string) (content, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, ok := r.repositories[repository]
	if !ok {
		return content{}, false
	}
	found, ok := from.blobs[digest.Digest(reference)]
	return found, ok
}

func (r *Registry) tagList(repository string) ([]string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, ok := r.repositories[repository]
	if !ok {
		return nil, false
	}
	tags := slices.AppendSeq([]string{}, maps.Keys(from.tags)) // never null in JSON
	slices.Sort(tags)
	return tags, true
}

// referrers lists the manifests whose subject is dgst, in order of their digests.
func (r *Registry) referrers(repository string, dgst digest.Digest) []ocispec.Descriptor {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := []ocispec.Descriptor{}
	from, ok := r.repositories[repository]
	if !ok {
		return found
	}
	for _, own := range slices.Sorted(maps.Keys(from.manifests)) {
		if referrer, ok := from.manifests[own].refersTo(dgst); ok {
			referrer.Digest = own
			found = append(found, referrer)
		}
	}
	return found
}

// refersTo answers the descriptor for the referrers list when c's subject is dgst.
func (c content) refersTo(dgst digest.Digest) (ocispec.Descriptor, bool) {
	var m ocispec.Manifest // an index has the same fields, but for the config
	if json.Unmarshal(c.body, &m) != nil || m.Subject == nil || m.Subject.Digest != dgst {
		return ocispec.Descriptor{}, false
	}
	d := c.descriptor("")
	d.Annotations, d.ArtifactType = m.Annotations, m.ArtifactType
	if d.ArtifactType == "" {
		d.ArtifactType = m.Config.MediaType
	}
	return d, true
}
