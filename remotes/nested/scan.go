package nested

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nestedoci/nested/internal/sanitize"
)

// scan is what the tokens of a manifest or index say that its decoded form
// hides: encoding/json matches keys without regard to case and takes the last
// of several.
type scan struct {
	keys      Keys
	nested    bool  // a child namespace is stated in manifests[], in any spelling
	entries   int   // elements of manifests[] or layers[]
	ambiguous error // duplicate or case-variant keys
}

// maxNesting is far more than the image spec's manifests and indexes need,
// which nest six deep. Plain ones may go as deep as encoding/json lets them.
const maxNesting = 64

var errNesting = errors.New("nested too deeply")

// errNumber is of a number that decoders make different things of.
var errNumber = errors.New("a number too large")

// scanTokens reads all tokens of a manifest or index that is known to be JSON.
func scanTokens(data []byte, keys Keys) (scan, error) {
	s := scan{keys: keys}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	_, err := s.value(decoder, nil)
	return s, err
}

// value reads one value; path holds the folded keys that lead to it, "[]" for
// an element of an array. It returns the value if it is a scalar.
func (s *scan) value(decoder *json.Decoder, path []string) (any, error) {
	if len(path) > maxNesting {
		s.ambiguous = errNesting
	}
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return nil, s.object(decoder, path)
	case json.Delim('['):
		n := 0
		for ; decoder.More(); n++ {
			if _, err := s.value(decoder, append(path, "[]")); err != nil {
				return nil, err
			}
		}
		if len(path) == 1 && (path[0] == "manifests" || path[0] == "layers") {
			s.entries = max(s.entries, n)
		}
		_, err := decoder.Token()
		return nil, err
	}
	if n, ok := token.(json.Number); ok && len(path) > 0 && path[0] == "manifests" {
		if _, err := n.Float64(); err != nil {
			s.ambiguous = errNumber
		}
	}
	return token, nil
}

func (s *scan) object(decoder *json.Decoder, path []string) error {
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		key := token.(string)
		folded := fold(key)
		if seen[folded] || s.variant(key, folded) {
			s.ambiguous = fmt.Errorf("key %s is there twice or in an unusual case", sanitize.Quote(key))
		}
		seen[folded] = true
		value, err := s.value(decoder, append(path, folded))
		if err != nil {
			return err
		}
		s.nested = s.nested || s.states(path, folded, value)
	}
	_, err := decoder.Token()
	return err
}

// states reports whether a key in an object states a child namespace.
func (s *scan) states(path []string, key string, value any) bool {
	switch {
	case slices.Equal(path, []string{"manifests", "[]", "annotations"}):
		return value != nil && containsFold(s.keys.Annotations, key)
	case slices.Equal(path, []string{"manifests", "[]"}) && containsFold(s.keys.Properties, key):
		text, _ := value.(string)
		_, err := ParseChild(text)
		return err == nil
	}
	return false
}

// knownKeys are the keys of indexes, manifests and descriptors.
var knownKeys = []string{"schemaVersion", "mediaType", "artifactType", "manifests", "config", "layers",
	"subject", "annotations", "digest", "size", "urls", "data", "platform", "architecture", "os"}

func isKnownKey(key string) bool { return slices.Contains(knownKeys, key) }

// foldedKeys are knownKeys by what they fold to.
var foldedKeys = func() map[string]string {
	folded := map[string]string{}
	for _, key := range knownKeys {
		folded[fold(key)] = key
	}
	return folded
}()

// variant reports whether a key is one that matters, in another case.
func (s *scan) variant(key, folded string) bool {
	if known, ok := foldedKeys[folded]; ok && known != key {
		return true
	}
	for _, known := range [][]string{s.keys.Annotations, s.keys.Properties} {
		if !slices.Contains(known, key) && containsFold(known, folded) {
			return true
		}
	}
	return false
}

func containsFold(keys []string, folded string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return fold(k) == folded })
}

// fold maps keys to one another that encoding/json takes for the same.
func fold(key string) string {
	if isLowerCase(key) {
		return key
	}
	return strings.ToLower(strings.ToUpper(key))
}
