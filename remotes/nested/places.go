package nested

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Places says where one piece of content may be, by what manifests and indexes
// of several repositories say: first what those of the root's repository say,
// then what those below it claim, each in the order of appearance. A claim
// stands behind what is known, and takes nothing of it away (docs/spec.md,
// section 4, "Provenance").
type Places []Place

// maxClaims bounds the claims that are kept of what is below one first
// component of the root's repository, and maxClaimants those components. None
// makes room for another, so that none drives out what others say. maxVersions
// bounds what one repository says of one piece of content: as an entry of an
// index, as what a manifest names, or as what a carrier carries.
const maxClaims, maxClaimants, maxVersions = 8, 8, 3

// Own reports whether the root's repository itself says so.
func (p Place) Own(root auth.Repository) bool { return p.by == root }

// own is the number of places that are no claims.
func (s Places) own(root auth.Repository) int {
	n := slices.IndexFunc(s, func(p Place) bool { return !p.Own(root) })
	if n < 0 {
		return len(s)
	}
	return n
}

// Known reports whether there is more than claims.
func (s Places) Known(root auth.Repository) bool { return s.own(root) > 0 }

// but returns the places that lead to other repositories than others do.
func (s Places) but(others Places) Places {
	tried := map[auth.Repository]bool{}
	for _, p := range others {
		for _, r := range union(p.targets, p.fallbacks) {
			tried[r] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(s), func(p Place) bool {
		return !slices.ContainsFunc(union(p.targets, p.fallbacks), func(r auth.Repository) bool { return !tried[r] })
	})
}

// describes reports whether two places say the same of the content itself.
func (p Place) describes(q Place) bool {
	return p.question(q.by) == q.question(q.by)
}

// add returns the places with one more: as part of the one from the same source
// that says the same of the content, or else behind those of its kind. A claim
// for which there is no room is left out.
func (s Places) add(root auth.Repository, p Place) Places {
	for i, known := range s {
		if known.by == p.by && known.describes(p) {
			s[i] = known.merge(p)
			return s
		}
	}
	switch {
	case p.Own(root) && s.own(root) >= maxVersions: // sizes and media types without end
		return s
	case p.Own(root):
		return slices.Insert(slices.Clip(s), s.own(root), p)
	case HasRoom(len(s), func(i int) string { return oci.Below(root, s[i].by) }, oci.Below(root, p.by)):
		return append(slices.Clip(s), p)
	}
	return s
}

// HasRoom reports whether a claim may be kept beside others. Sources are
// relative to the root's repository; "" is that itself, which claims nothing.
func HasRoom(claims int, source func(int) string, one string) bool {
	versions, mine, claimants := 0, 0, map[string]bool{}
	for i := range claims {
		by := source(i)
		if by == "" {
			continue
		}
		claimants[firstOf(by)] = true
		if by == one {
			versions++
		}
		if firstOf(by) == firstOf(one) {
			mine++
		}
	}
	return versions < maxVersions && mine < maxClaims && (mine > 0 || len(claimants) < maxClaimants)
}

func firstOf(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// step is one question: whether a repository has the content as a place says.
type step struct {
	place    Place
	at       auth.Repository
	of       int  // what its denial counts for: a claim for itself, all else together
	fallback bool // only asked after absences
	claim    bool
	turn     int // of a claim, among those of its first component
}

// Try asks for content until a repository has it, and returns that and the
// place that it was asked with. What the root's repository says is asked for
// as [Place.Try] does. Then the claims are tried, those of different components
// in turn, whatever is wrong with one. In the end the root's repository itself
// is asked as plain says, if that is given and it said nothing else: no claim,
// and no denial of one, hides what it has. Errors: as for [Place.Try].
func (s Places) Try(ctx context.Context, root auth.Repository, plain Places, try func(Place, auth.Repository) error) (Place, auth.Repository, error) {
	a := attempts{root: root, failed: &Error{Parent: root, Err: errNowhere}, answered: map[int]bool{}}
	for i, step := range s.steps(root, plain) {
		if i == 0 {
			a.failed.Target, a.failed.Digest = step.at, step.place.descriptor.Digest
		}
		if step.fallback && a.answered[step.of] || step.of == plainly && a.absent {
			continue
		}
		err := try(step.place, step.at)
		if err == nil {
			return step.place, step.at, nil
		}
		if a.fail(step, err); a.over || ctx.Err() != nil {
			break
		}
	}
	return Place{}, auth.Repository{}, a.err()
}

// stated and plainly are what steps are of that are no claims.
const stated, plainly = -1, -2

// question is what makes a difference between questions.
type question struct {
	at             auth.Repository
	size           int64
	mediaType      string
	entry, carried bool
}

func (p Place) question(at auth.Repository) question {
	return question{at, p.descriptor.Size, p.descriptor.MediaType, p.entry, p.carried}
}

// steps are the questions in their order.
func (s Places) steps(root auth.Repository, plain Places) []step {
	var targets, fallbacks, claims []step
	turns, asked := map[string]int{}, false
	questions := map[question]bool{}
	for i, p := range s {
		own := p.Own(root)
		asked = asked || own && (slices.Contains(p.targets, root) || slices.Contains(p.fallbacks, root))
		for j, at := range union(p.targets, p.fallbacks) {
			next := step{place: p, at: at, of: stated, fallback: j >= len(p.targets)}
			first := firstOf(oci.Below(root, p.by))
			switch {
			case own && next.fallback:
				fallbacks = append(fallbacks, next)
			case own:
				targets = append(targets, next)
			case turns[first] < maxCandidates && !questions[p.question(at)]:
				questions[p.question(at)] = true
				next.claim, next.of, next.turn = true, i, turns[first]
				claims = append(claims, next)
				turns[first]++
			}
		}
	}
	slices.SortStableFunc(claims, func(a, b step) int { return a.turn - b.turn })
	steps := slices.Concat(targets, fallbacks, claims)
	for _, p := range plain {
		if !asked {
			steps = append(steps, step{place: p, at: root, of: plainly})
		}
	}
	return steps
}

// attempts is what came of the questions so far.
type attempts struct {
	root     auth.Repository
	failed   *Error
	rank     int          // of its error
	answered map[int]bool // otherwise than with an absence, by what the steps are of
	absent   bool         // from the root's repository
	over     bool
}

// fail takes a failure in. The first of the worst is reported; one that is
// neither an absence nor a denial ends the asking, unless a claim may be to
// blame.
func (a *attempts) fail(s step, err error) {
	a.failed.Attempts = append(a.failed.Attempts, Attempt{s.at, err})
	rank := rankFailed
	switch {
	case isDenied(err):
		rank = rankDenied
		a.answered[s.of] = true
	case errdefs.IsNotFound(err):
		rank = rankAbsent
		a.absent = a.absent || s.at == a.root && !s.place.carried
	default:
		a.answered[s.of] = true
		a.over = !s.claim || isBusy(err)
	}
	if rank > a.rank {
		a.failed.Err, a.rank = err, rank
	}
}

// err is the error itself where it says all: the only answer of the root's
// repository, or what is wrong with a manifest or index.
func (a *attempts) err() error {
	var invalid *InvalidError
	if len(a.failed.Attempts) == 1 && (a.failed.Target == a.root || errors.As(a.failed.Err, &invalid)) {
		return a.failed.Err
	}
	return a.failed
}

const (
	rankAbsent = iota + 1
	rankDenied
	rankFailed
)
