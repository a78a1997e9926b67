package nested

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// Child is a child namespace: a relative repository path such as "web" or
// "a/b" (docs/spec.md, section 3). The zero value is none; others come from
// [ParseChild].
type Child struct{ path string }

// childPattern is one or more of the distribution spec's path components.
var childPattern = regexp.MustCompile(`^` + component + `(/` + component + `)*$`)

const component = `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`

// alphanumeric are the characters that the simplest components consist of.
const alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"

// maxChild is more than fits behind any parent.
const maxChild = 255

// ParseChild reads a child namespace.
func ParseChild(s string) (Child, error) {
	if len(s) > maxChild || s == "" || strings.Trim(s, alphanumeric) != "" && !childPattern.MatchString(s) {
		return Child{}, fmt.Errorf("child namespace %s: not a relative repository path", sanitize.Quote(s))
	}
	return Child{s}, nil
}

// String returns the child namespace, which [ParseChild] reads back.
func (c Child) String() string { return c.path }

// In returns the target repository: parent + "/" + child namespace, on the
// same registry.
func (c Child) In(parent auth.Repository) (auth.Repository, error) {
	if c == (Child{}) {
		return parent, nil
	}
	target, err := parent.Below(c.path)
	if err != nil {
		return auth.Repository{}, fmt.Errorf("child namespace %s: %w", sanitize.Quote(c.path), err)
	}
	return target, nil
}

// Keys are the names under which a descriptor states its child namespace. The
// zero value means [DefaultKeys].
type Keys struct {
	// Annotations count whenever they are there: a value that is no child
	// namespace makes the index invalid.
	Annotations []string
	// Properties of the descriptor itself count when their value is a child
	// namespace and are unknown properties otherwise.
	Properties []string
}

// Annotation is the key that this project writes.
const Annotation = "io.github.nestedoci.child-namespace"

// OriginAnnotation is the key under which the descriptor of a member says where
// its content was copied from (docs/spec.md, section 2a).
const OriginAnnotation = "io.github.nestedoci.origin"

// DefaultKeys are the annotation of this project and the property that
// opencontainers/image-spec issue 1217 proposes.
var DefaultKeys = Keys{Annotations: []string{Annotation}, Properties: []string{"namespace"}}

var errContradiction = errors.New("they contradict each other")

// childOf reads the child namespace that a descriptor, given as decoded JSON,
// states. null is absent.
func (k Keys) childOf(descriptor map[string]any) (Child, error) {
	var child Child
	from := ""
	state := func(c Child, by string) error {
		if from != "" && c != child {
			return fmt.Errorf("%s says %q, %s says %q: %w", from, child, by, c, errContradiction)
		}
		child, from = c, by
		return nil
	}
	annotations, _ := descriptor["annotations"].(map[string]any)
	for _, key := range k.Annotations {
		if annotations[key] == nil {
			continue
		}
		value, _ := annotations[key].(string)
		c, err := ParseChild(value)
		if err != nil {
			return Child{}, err
		}
		if err := state(c, "annotation "+key); err != nil {
			return Child{}, err
		}
	}
	for _, key := range k.Properties {
		value, _ := descriptor[key].(string)
		if c, err := ParseChild(value); err == nil {
			if err := state(c, "property "+key); err != nil {
				return Child{}, err
			}
		}
	}
	return child, nil
}

// properties decodes what childOf looks at of a descriptor. The rest may be
// anything, and take forty times its size.
func (k Keys) properties(descriptor json.RawMessage) (map[string]any, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(descriptor, &all); err != nil {
		return nil, err
	}
	decoded := map[string]any{}
	for _, key := range append([]string{"annotations"}, k.Properties...) {
		raw, ok := all[key]
		if ok && key == "annotations" || bytes.HasPrefix(raw, []byte(`"`)) { // a property counts only as a string
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, err
			}
			decoded[key] = value
		}
	}
	return decoded, nil
}
