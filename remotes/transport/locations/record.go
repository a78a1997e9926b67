package locations

import (
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// record is a value of the file: what was said of content, which roots
// a repository has, or, with neither, that a manifest or index was learnt.
type record struct {
	Seen  int64        `json:"s"` // Unix time in seconds
	Says  []statement  `json:"p,omitempty"`
	Roots []rootRecord `json:"r,omitempty"` // the latest first
}

// rootRecord is a nested index that was found in a repository itself.
type rootRecord struct {
	Digest digest.Digest `json:"d"`
	Seen   int64         `json:"s"`
}

// statement is what manifests and indexes of one repository say of content.
// Repositories are relative to the one in the key: "" is that itself, "web" the
// one below it. The repository's own statements come first, the latest before
// others; behind them are the claims of those below, as they came
// (docs/spec.md, section 4, "Provenance").
type statement struct {
	By        string   `json:"b,omitempty"`
	MediaType string   `json:"t"`
	Size      int64    `json:"n"`
	Targets   []string `json:"r"`
	Times     []int64  `json:"w"` // when each target was seen
	Fallbacks []string `json:"f,omitempty"`
	Depth     int      `json:"d,omitempty"`
	Strict    bool     `json:"x,omitempty"`
	Entry     bool     `json:"e,omitempty"`
	Carried   bool     `json:"c,omitempty"`
}

// maxTargets bounds the candidates of a statement, and the statements that a
// repository keeps of its own (docs/spec.md, section 4).
const maxTargets = 8

// MaxRoots bounds the roots that are remembered of a repository: searches walk
// from them, and make fewer requests than that.
const MaxRoots = 100

// newStatement is that of a place that was seen just now.
func newStatement(parent auth.Repository, p nested.Place, now int64) statement {
	f := p.Fields()
	s := statement{
		Times:     slices.Repeat([]int64{now}, len(f.Targets)),
		MediaType: strings.Clone(f.Descriptor.MediaType), // the strings of a manifest or index may share one copy of it
		Size:      f.Descriptor.Size,
		Targets:   relative(parent, f.Targets),
		Fallbacks: relative(parent, f.Fallbacks),
		Depth:     f.Depth,
		Strict:    f.Strict,
		Entry:     f.Entry,
		Carried:   f.Carried,
	}
	if !p.Own(parent) {
		s.By = relative(parent, []auth.Repository{f.By})[0]
	}
	return s
}

// root reports whether the statement is about an index found in the repository
// itself.
func (s statement) root() bool {
	return s.By == "" && s.Depth == 0 && images.IsIndexType(s.MediaType) && slices.Contains(s.Targets, "")
}

// isAbout reports whether two statements have one source and say the same of
// the content itself.
func (s statement) isAbout(t statement) bool {
	return s.By == t.By && s.MediaType == t.MediaType && s.Size == t.Size && s.Entry == t.Entry && s.Carried == t.Carried
}

// over puts what a statement says before what an older one said.
func (s statement) over(old statement) statement {
	s.Targets, s.Times = slices.Clip(s.Targets), slices.Clip(s.Times)
	for i, target := range old.Targets {
		if len(s.Targets) < maxTargets && i < len(old.Times) && !slices.Contains(s.Targets, target) {
			s.Targets, s.Times = append(s.Targets, target), append(s.Times, old.Times[i])
		}
	}
	s.Fallbacks = slices.Clip(s.Fallbacks)
	for _, fallback := range old.Fallbacks {
		if len(s.Fallbacks) < maxTargets && !slices.Contains(s.Fallbacks, fallback) {
			s.Fallbacks = append(s.Fallbacks, fallback)
		}
	}
	s.Strict = s.Strict || old.Strict
	return s
}

// add adds a statement that the same manifest or index makes behind those
// before. One that says many things of the same content is not listened to for
// long.
func (r *record) add(s statement) {
	for i, before := range r.Says {
		if before.isAbout(s) {
			r.Says[i] = before.over(s)
			return
		}
	}
	if len(r.Says) < maxTargets {
		r.Says = append(r.Says, s)
	}
}

// merge adds what was learnt later.
func (r record) merge(later record) record {
	r.Seen = max(r.Seen, later.Seen)
	r.Says, r.Roots = slices.Clone(r.Says), slices.Clone(r.Roots)
	for _, s := range slices.Backward(later.Says) {
		if s.By == "" {
			r.state(s)
		}
	}
	for _, s := range later.Says {
		if s.By != "" {
			r.claim(s)
		}
	}
	for _, root := range slices.Backward(later.Roots) {
		r.Roots = slices.DeleteFunc(r.Roots, func(old rootRecord) bool { return old.Digest == root.Digest })
		r.Roots = slices.Insert(r.Roots, 0, root)
	}
	r.Roots = r.Roots[:min(len(r.Roots), MaxRoots)]
	return r
}

// state puts what the repository itself says before all else.
func (r *record) state(s statement) {
	if i := slices.IndexFunc(r.Says, s.isAbout); i >= 0 {
		s = s.over(r.Says[i])
		r.Says = slices.Delete(r.Says, i, i+1)
	}
	r.Says = slices.Insert(r.Says, 0, s)
	if len(r.Says) > maxTargets && r.Says[maxTargets].By == "" {
		r.Says = slices.Delete(r.Says, maxTargets, maxTargets+1)
	}
}

// claim puts what another says behind all else. It takes the room of none but
// its own.
func (r *record) claim(s statement) {
	if i := slices.IndexFunc(r.Says, s.isAbout); i >= 0 {
		r.Says[i] = s.over(r.Says[i])
		return
	}
	if nested.HasRoom(len(r.Says), func(i int) string { return r.Says[i].By }, s.By) {
		r.Says = append(r.Says, s)
	} else if i := slices.IndexFunc(r.Says, func(old statement) bool { return old.By == s.By }); i >= 0 {
		r.Says = append(slices.Delete(r.Says, i, i+1), s)
	}
}

// current is a record without what is too old.
func (r record) current(old func(seen int64) bool) record {
	var says []statement
	for _, s := range r.Says {
		targets, times := []string{}, []int64{}
		for i, at := range s.Times {
			if i < len(s.Targets) && !old(at) {
				targets, times = append(targets, s.Targets[i]), append(times, at)
			}
		}
		if s.Targets, s.Times = targets, times; len(targets) > 0 {
			says = append(says, s)
		}
	}
	r.Says = says
	r.Roots = slices.DeleteFunc(slices.Clone(r.Roots), func(root rootRecord) bool { return old(root.Seen) })
	return r
}

func relative(parent auth.Repository, repositories []auth.Repository) []string {
	names := make([]string, len(repositories))
	for i, r := range repositories {
		names[i] = strings.TrimPrefix(strings.TrimPrefix(r.String(), parent.String()), "/")
	}
	return names
}

// places reads a record back. What does not read as a place below the parent is
// none.
func (r record) places(parent auth.Repository, d digest.Digest) nested.Places {
	var places nested.Places
	for _, s := range r.Says {
		if p, ok := s.place(parent, d); ok {
			places = append(places, p)
		}
	}
	return places
}

func (s statement) place(parent auth.Repository, d digest.Digest) (nested.Place, bool) {
	by, ok := absolute(parent, []string{s.By})
	targets, all := absolute(parent, s.Targets)
	fallbacks, both := absolute(parent, s.Fallbacks)
	if !ok || !all || !both {
		return nested.Place{}, false
	}
	p, err := nested.PlaceFields{
		By:         by[0],
		Descriptor: ocispec.Descriptor{MediaType: s.MediaType, Digest: d, Size: s.Size},
		Targets:    targets,
		Fallbacks:  fallbacks,
		Depth:      s.Depth,
		Strict:     s.Strict,
		Entry:      s.Entry,
		Carried:    s.Carried,
	}.Place()
	return p, err == nil
}

func absolute(parent auth.Repository, names []string) ([]auth.Repository, bool) {
	var repositories []auth.Repository
	for _, name := range names {
		child := nested.Child{}
		if name != "" {
			var err error
			if child, err = nested.ParseChild(name); err != nil {
				return nil, false
			}
		}
		r, err := child.In(parent)
		if err != nil {
			return nil, false
		}
		repositories = append(repositories, r)
	}
	return repositories, true
}

// now is the time as records have it.
func now() int64 { return time.Now().Unix() }
