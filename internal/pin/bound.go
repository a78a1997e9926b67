package pin

import (
	"fmt"
	"unicode/utf8"
)

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
		next := byte('\n')
		if i+1 < len(text) {
			next = text[i+1]
		}
		switch c {
		case '\n', ',', ':', '[', '{', '?':
			values++
		case '\r': // YAML ends lines with it, too, and with U+0085, U+2028 and U+2029
			if next != '\n' {
				values++
			}
		case '-':
			if next <= ' ' || next >= utf8.RuneSelf {
				values++
			}
		}
	}
	if values > maxValues {
		return fmt.Errorf("%s: more than %d keys and values; split it into several files, and read one at a time", name, maxValues)
	}
	return nil
}
