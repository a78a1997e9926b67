package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// All output that may hold foreign strings goes through this file: text
// through printable, JSON through printJSON, logs through redacted.

// isShown reports whether a character can be shown as it is: it is visible or
// a space, does nothing to a terminal, and does not change how others are
// shown. Unicode's default ignorable characters are invisible though they count
// as letters or marks.
func isShown(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// printable escapes what must not reach a terminal, as Go's string literals do.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case isShown(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		i += size
	}
	return b.String()
}

// escapeJSON escapes, in JSON, the characters that are not shown as they are.
// They can only stand in strings, so that what it decodes to stays the same.
func escapeJSON(data []byte) []byte {
	return escape(data, func(r rune) bool { return r < 0x7f || r > 0x7f && isShown(r) })
}

// escape writes characters as JSON does: \u and four digits, in surrogate pairs
// where it takes more.
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

// printJSON prints a result for programs.
func printJSON(out io.Writer, result any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(result); err != nil {
		return err
	}
	_, err := out.Write(escapeJSON(text.Bytes()))
	return err
}

// redacted is a writer that redacts and escapes the lines of a log, which may be
// JSON.
type redacted struct{ io.Writer }

func (w redacted) Write(p []byte) (int, error) {
	line := escape([]byte(redact(string(p))), func(r rune) bool { return r == '\n' || isShown(r) })
	if _, err := w.Writer.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}
