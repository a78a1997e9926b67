// Package sanitize makes text and JSON with strings of strangers safe to show.
// Registries, indexes, helpers and archives choose these strings, which must
// neither control a terminal, nor hide text, nor carry a secret further.
//
// Everything that a program prints goes through it: text through [Text], JSON
// through [WriteJSON], logs through [Log], errors with URLs through [URLs], and
// strings in errors through [Quote].
package sanitize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// IsShown reports whether a character can be shown as it is: it is visible or a
// space, does nothing to a terminal, and does not change how others are shown.
// Unicode's default ignorable characters are invisible although they count as
// letters or marks.
func IsShown(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// Text escapes, as Go's string literals do, what must not reach a terminal.
func Text(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case IsShown(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		i += size
	}
	return b.String()
}

// MaxMessage bounds a message as it is shown, in bytes: errors quote registries.
const MaxMessage = 2048

// Message is [Text], cut at [MaxMessage].
func Message(s string) string {
	if s = Text(s); len(s) > MaxMessage {
		s = strings.ToValidUTF8(s[:MaxMessage], "") + "…"
	}
	return s
}

// Quote formats a string for an error: quoted, escaped to ASCII, on one line,
// and cut after 64 bytes.
func Quote(s string) string {
	const shown = 64
	if len(s) > shown {
		return fmt.Sprintf("%+q…", s[:shown])
	}
	return fmt.Sprintf("%+q", s)
}

// JSON escapes the characters in JSON that cannot be shown as they are. They
// can only be in strings, so that the decoded value does not change.
func JSON(data []byte) []byte {
	return escape(data, func(r rune) bool { return r < 0x7f || r > 0x7f && IsShown(r) })
}

// escape writes characters as JSON does: \u and four digits, in surrogate pairs
// where necessary.
func escape(data []byte, shown func(rune) bool) []byte {
	if bytes.IndexFunc(data, func(r rune) bool { return !shown(r) }) < 0 {
		return data
	}
	var b bytes.Buffer
	for _, r := range string(data) {
		switch {
		case shown(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// WriteJSON prints a result as JSON for programs.
func WriteJSON(out io.Writer, result any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(result); err != nil {
		return err
	}
	_, err := out.Write(JSON(text.Bytes()))
	return err
}

// Log is a writer that redacts and escapes the lines of a log, which may be
// JSON.
type Log struct{ io.Writer }

func (w Log) Write(p []byte) (int, error) {
	line := escape([]byte(URLs(string(p))), func(r rune) bool { return r == '\n' || IsShown(r) })
	if _, err := w.Writer.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}

// signed matches the parts of URLs that may contain secrets: users and queries.
var signed = regexp.MustCompile(`(https?://)(?:[^\s/"@]*@)?([^\s"?]*)(\?[^\s"]*)?`)

// URLs removes users and queries from the URLs in a text.
func URLs(s string) string { return signed.ReplaceAllString(s, "$1$2") }
