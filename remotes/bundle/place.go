package bundle

import (
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// newMembers are the members that sources become in the index. Their
// repositories are chosen, and nothing is read.
func (e *Edit) newMembers(sources []IndexSource, o AddOptions) ([]member, error) {
	members := make([]member, len(sources))
	names := e.names(o.Replace)
	var elsewhere []*member
	for i, source := range sources {
		m := &members[i]
		m.source, m.at = source, source.Reference.Repository()
		path, below := strings.CutPrefix(m.at.String(), e.repository.String()+"/")
		switch {
		case below:
			m.path, names.given[path] = path, m.at
		case o.Copy == nil:
			return nil, avoidable(ByCopy, "%w", usage.Errorf("%s: a source has to be in a repository below %s, on the same registry (docs/spec.md, section 3)", source, e.repository))
		default:
			elsewhere = append(elsewhere, m)
		}
	}
	if err := names.nameAll(elsewhere); err != nil {
		return nil, err
	}
	for i := range members {
		if err := members[i].settle(e.repository); err != nil {
			return nil, err
		}
	}
	return members, e.sources(members, o.Copy)
}

// settle decides where a member is, or will be.
func (m *member) settle(parent auth.Repository) (err error) {
	if m.child, err = nested.ParseChild(m.path); err == nil {
		m.repository, err = m.child.In(parent)
	}
	if err != nil {
		return usage.Errorf("%s: %w; give it a shorter name, as NAME=SOURCE", m.source, err)
	}
	return nil
}

// sources are where the members that are elsewhere are copied from.
func (e *Edit) sources(members []member, how *CopySources) error {
	budget := new(atomic.Int64)
	budget.Store(keepAtMost)
	for i := range members {
		m := &members[i]
		if m.at == m.repository {
			continue
		}
		client, err := how.From(m.at)
		if err != nil {
			return err
		}
		m.from = &copiedSource{how: how, client: client, budget: budget}
	}
	return nil
}

// childNames chooses child namespaces for repositories that are copied below
// another one: their last components, as many as tell them apart. All images of a
// repository have one name. Names that are given, or in use, stay.
type childNames struct {
	given  map[string]auth.Repository // by name; the zero value for what is not known to be of one repository
	chosen map[auth.Repository]int    // how many components
}

// names are those in use. An entry that was copied from a repository keeps its
// name for further images of that; one that is replaced leaves it to others.
func (e *Edit) names(replace bool) *childNames {
	names := &childNames{map[string]auth.Repository{}, map[auth.Repository]int{}}
	for _, entry := range e.entries {
		if name := entry.Child.String(); name != "" && !replace {
			origin, _ := ParseOrigin(entry.Origin)
			names.given[name] = origin.Repository
		}
	}
	for _, m := range e.members {
		if m.source.Reference != (auth.Reference{}) { // added before
			names.given[m.child.String()] = m.at
		}
	}
	return names
}

// nameAll names the members that are copied.
func (c *childNames) nameAll(members []*member) error {
	for _, m := range members {
		if m.path = m.source.Name; m.path == "" {
			c.chosen[m.at] = 1
		} else if err := c.give(m.source); err != nil {
			return err
		}
	}
	if err := c.differ(); err != nil {
		return err
	}
	for _, m := range members {
		if m.path == "" {
			m.path = c.of(m.at)
		}
	}
	return nil
}

// give notes the name that a source has been given.
func (c *childNames) give(source IndexSource) error {
	at := source.Reference.Repository()
	if _, err := nested.ParseChild(source.Name); err != nil {
		return usage.Errorf("%s: with a copy the name is the child namespace, too: %w", source, err)
	}
	if other, ok := c.given[source.Name]; ok && other != at && other != (auth.Repository{}) {
		return usage.Errorf("%s: the name %s is that of %s; give another one", source, source.Name, other)
	}
	c.given[source.Name] = at
	return nil
}

// of is the name of a repository: its last components.
func (c *childNames) of(r auth.Repository) string {
	all := components(r)
	return strings.Join(all[len(all)-c.chosen[r]:], "/")
}

// components are those of a repository's name, and in front what a component can
// have of its host.
func components(r auth.Repository) []string {
	host := notInComponent.ReplaceAllString(strings.ToLower(r.Host()), "-")
	return append([]string{strings.Trim(host, "-.")}, strings.Split(r.Name(), "/")...)
}

var notInComponent = regexp.MustCompile(`[^a-z0-9.]+`)

// differ makes names longer until no two repositories have the same one.
func (c *childNames) differ() error {
	for {
		same := c.same()
		longer := false
		for _, r := range same {
			if c.chosen[r] < len(components(r)) {
				c.chosen[r]++
				longer = true
			}
		}
		switch {
		case len(same) == 0:
			return nil
		case !longer:
			return usage.Errorf("%s: its name is that of another member, %s; give another one, as NAME=SOURCE", same[0], c.of(same[0]))
		}
	}
}

// same are the repositories with a name that is another one's, too, in order.
func (c *childNames) same() []auth.Repository {
	users := map[string][]auth.Repository{}
	for r := range c.chosen {
		users[c.of(r)] = append(users[c.of(r)], r)
	}
	var same []auth.Repository
	for name, all := range users {
		given, taken := c.given[name]
		for _, r := range all {
			if taken && r != given || !taken && len(all) > 1 {
				same = append(same, r)
			}
		}
	}
	slices.SortFunc(same, func(a, b auth.Repository) int { return strings.Compare(a.String(), b.String()) })
	return same
}
