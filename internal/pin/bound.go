package pin

import "fmt"

// maxValues bounds the keys, values, lists and mappings of a YAML text. The
// parser takes 250 bytes and a microsecond or two for each; 8 MiB of Kubernetes
// manifests have about a million, and 8 MiB of text may have four.
const maxValues = 1_500_000

// CheckValues refuses a YAML text that would take the parser long, before it is
// parsed. It counts what values may begin after, also in strings, where it is
// no such thing.
func CheckValues(name string, text []byte) error {
	values := 0
	for i, c := range text {
		switch c {
		case '\n', ',', ':', '[', '{', '?':
			values++
		case '-':
			if i+1 < len(text) && (text[i+1] == ' ' || text[i+1] == '\n') {
				values++
			}
		}
	}
	if values > maxValues {
		return fmt.Errorf("%s: more than %d keys and values; split it into several files, and read one at a time", name, maxValues)
	}
	return nil
}
