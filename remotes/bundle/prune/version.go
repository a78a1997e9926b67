package prune

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// version is a tag that says a version: numbers, and what follows a hyphen.
type version struct {
	numbers []string // decimal, without leading zeros
	pre     []string // nil for none
}

// versionTag is the form of semantic versions, with any number of numbers, so that
// dates are versions, too; "_" stands for "+", which no tag has.
var versionTag = regexp.MustCompile(`^[vV]?([0-9]+(?:\.[0-9]+)*)(?:-([0-9A-Za-z.-]+))?(?:_.*)?$`)

func parseVersion(tag string) (version, bool) {
	m := versionTag.FindStringSubmatch(tag)
	if m == nil {
		return version{}, false
	}
	v := version{numbers: strings.Split(m[1], ".")}
	for i, n := range v.numbers {
		v.numbers[i] = cmp.Or(strings.TrimLeft(n, "0"), "0")
	}
	if m[2] != "" {
		v.pre = strings.Split(m[2], ".")
	}
	return v, true
}

// compare orders versions by semver.org's precedence. A number that is missing
// is 0.
func (v version) compare(w version) int {
	for i := range max(len(v.numbers), len(w.numbers)) {
		if c := compareNumbers(at(v.numbers, i), at(w.numbers, i)); c != 0 {
			return c
		}
	}
	switch {
	case len(v.pre) == 0 || len(w.pre) == 0:
		return cmp.Compare(len(w.pre), len(v.pre))
	default:
		return slices.CompareFunc(v.pre, w.pre, compareIdentifiers)
	}
}

func at(numbers []string, i int) string {
	if i < len(numbers) {
		return numbers[i]
	}
	return "0"
}

// compareNumbers compares decimal numbers of any length.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// compareIdentifiers compares parts of a pre-release: numbers by value, and before
// other ones.
func compareIdentifiers(a, b string) int {
	aIs, bIs := isNumber(a), isNumber(b)
	switch {
	case aIs && bIs:
		return compareNumbers(strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0"))
	case aIs:
		return -1
	case bIs:
		return 1
	}
	return cmp.Compare(a, b)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// versionOf is the version of a release: of its tags that say one the most
// precise, since v1 and v1.2 are moved from release to release.
func (r *release) version() (best version, ok bool) {
	for _, tag := range r.tags {
		v, is := parseVersion(tag)
		if is && (!ok || len(v.numbers) > len(best.numbers) || len(v.numbers) == len(best.numbers) && v.compare(best) > 0) {
			best, ok = v, true
		}
	}
	return best, ok
}
