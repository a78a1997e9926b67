package layout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/delta"
)

// A delta is a layout that leaves out what its readers have. It says what, so
// that what is missing at the destination has a name.
var _ delta.Source = (*Source)(nil)

// readDelta reads the list of what is left out, if there is one.
func (l *Source) readDelta() error {
	data, err := l.read(deltaFile, maxIndex)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil {
		l.delta, err = parseDelta(data)
	}
	return err
}

// LeftOut implements [delta.Source]. A manifest may be listed without what it
// names.
func (l *Source) LeftOut(d ocispec.Descriptor) (delta.Omitted, bool) {
	o, listed := l.delta[d.Digest]
	if oci.IsManifestOrIndex(d.MediaType) && !listed || images.IsIndexType(d.MediaType) || l.holds(d) {
		return delta.Omitted{}, false
	}
	o.Descriptor = bundle.Bare(d)
	return o, true
}

// holds reports whether a layout has content of a descriptor's size.
func (l *Source) holds(d ocispec.Descriptor) bool {
	if d.Digest.Validate() != nil {
		return false
	}
	file, size, _, err := l.open(blobFile(d.Digest))
	return err == nil && file.Close() == nil && size == d.Size
}

// SetRest implements [delta.Source].
func (l *Source) SetRest(rest delta.Fetch) { l.rest = rest }

// Name implements [delta.Source].
func (l *Source) Name() string { return l.Path }

// fetcherOf fetches content of one of the repositories of a bundle. A layout
// has the same for all, but what a delta leaves out is where they are copied
// to.
type fetcherOf struct {
	*Source
	at auth.Repository
}

var _ remotes.ReferrersFetcher = fetcherOf{}

// Fetch implements remotes.Fetcher.
func (f fetcherOf) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	body, err := f.Source.Fetch(ctx, desc)
	if !errdefs.IsNotFound(err) || f.delta == nil {
		return body, err
	}
	o, left := f.LeftOut(desc)
	if left && f.rest != nil {
		return f.rest(ctx, f.at, desc)
	}
	if left {
		err = auth.Classed(errdefs.ErrNotFound, "%s leaves out %s, because %s has it; copy both to one place", f.Path, oci.Short(desc.Digest), cmp.Or(sanitize.Text(fmt.Sprintf("%.255s", o.In)), "an earlier one"))
	}
	return body, err
}

// leave lists what was left out of a layout, beside what it lists already, but
// for what has come since.
func (l *Layout) leave(all []bundle.Pulled) error {
	list := deltaList{}
	data, err := l.readFile(deltaFile)
	if err == nil {
		list, err = parseDelta(data)
	}
	isDelta := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range all {
		for _, o := range p.Walked.Omitted {
			o.Members = append(o.Members, list[o.Digest].Members...)
			list[o.Digest], isDelta = o, true
		}
	}
	for d := range list {
		if l.has(d) {
			delete(list, d)
		}
	}
	if !isDelta {
		return nil
	}
	return l.write(deltaFile, list.file())
}

// deltaFile is the list's name. Other tools find a delta incomplete, which it
// is.
const deltaFile = "nested-delta.json"

// deltaList is what a delta leaves out.
type deltaList map[digest.Digest]delta.Omitted

// deltaIndex is the list as a file. Names of fields are a format.
type deltaIndex struct {
	Version int      `json:"version"`
	LeftOut leftOuts `json:"leftOut"`
}

// deltaVersion is the only one.
const deltaVersion = 1

// leftOut is an entry of the list.
type leftOut struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	In        string        `json:"in"`      // the earlier archive
	At        []string      `json:"at"`      // some repositories whose content it is there
	Members   []string      `json:"members"` // those whose content it is in this one
}

// leftOuts are decoded as entries of index.json are.
type leftOuts []leftOut

// UnmarshalJSON implements [json.Unmarshaler].
func (e *leftOuts) UnmarshalJSON(data []byte) (err error) {
	*e, err = decodeEach[leftOut](data, "leftOut")
	return err
}

// parseDelta reads a list. Its strings are a stranger's: digests become names
// of files, and repositories are asked.
func parseDelta(data []byte) (deltaList, error) {
	var file deltaIndex
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, MalformedError{fmt.Errorf("%s: %w", deltaFile, err)}
	}
	if file.Version != deltaVersion {
		return nil, MalformedError{fmt.Errorf("%s: version %d is not known; use a later nestctl", deltaFile, file.Version)}
	}
	list := deltaList{}
	for i, entry := range file.LeftOut {
		omitted, err := entry.parse()
		if err != nil {
			return nil, MalformedError{fmt.Errorf("%s: leftOut[%d]: %w", deltaFile, i, err)}
		}
		list[entry.Digest] = omitted
	}
	return list, nil
}

func (e leftOut) parse() (o delta.Omitted, err error) {
	o.Descriptor, o.In = ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}, e.In
	switch {
	case e.Digest.Validate() != nil:
		return o, fmt.Errorf("digest %.64q", e.Digest)
	case images.IsIndexType(e.MediaType):
		return o, fmt.Errorf("%s is an index, and every index has to be there", oci.Short(e.Digest))
	case e.Size < 0:
		return o, fmt.Errorf("%s: size %d", oci.Short(e.Digest), e.Size)
	}
	if o.At, err = parseRepositories(e.At[:min(len(e.At), maxPlaces)]); err == nil {
		o.Members, err = parseRepositories(e.Members)
	}
	return o, err
}

func parseRepositories(names []string) (all []auth.Repository, err error) {
	for _, name := range names {
		r, err := auth.ParseRepository(name)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// file is the list in the order of its digests.
func (l deltaList) file() deltaIndex {
	entries := leftOuts{}
	for d, o := range l {
		entries = append(entries, leftOut{o.MediaType, d, o.Size, o.In, knownNames(o.At), knownNames(o.Members)})
	}
	slices.SortFunc(entries, func(a, b leftOut) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	return deltaIndex{deltaVersion, entries}
}

// knownNames are the names of repositories, sorted, but for those of a layout
// that does not say where its content is from.
func knownNames(all []auth.Repository) []string {
	names := []string{}
	for _, r := range all {
		if name := r.String(); !isNowhere(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
