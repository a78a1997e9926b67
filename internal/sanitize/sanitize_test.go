package sanitize

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/containerd/log"

	"github.com/nestedoci/nested/internal/registrytest"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain, äöü 漢字 ├──": "plain, äöü 漢字 ├──",
		"\x1b[1m":           `\x1b[1m`,
		"a\xffb\xc2":        `a\xffb\xc2`,
		"\u009b\u202e":      `\u009b\u202e`,
		"\u00a0\u3164":      `\u00a0\u3164`,
		"\U000e0041":        `\U000e0041`,
		"\ufffd":            "\ufffd",
	} {
		if got := Text(text); got != want {
			t.Errorf("%+q: %s, want %s", text, got, want)
		}
	}
}

// TestJSONOfForeignText: what is printed is shown as it is, and decodes to what
// it was; what is no text at all is replaced.
func TestJSONOfForeignText(t *testing.T) {
	for text, want := range map[string]string{registrytest.ForeignText: registrytest.ForeignText, "a\xffb": "a\ufffdb", "äöü\\u009b\"": "äöü\\u009b\""} {
		var out bytes.Buffer
		if err := WriteJSON(&out, map[string]string{"key" + text: text}); err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		err := json.Unmarshal(out.Bytes(), &got)
		if err != nil || got["key"+want] != want || strings.ContainsFunc(out.String(), isUnshown) {
			t.Errorf("%+q: %v: printed %+q", text, err, out.String())
		}
	}
}

// TestLogOfForeignText: a line of the log is one line, and one in JSON stays JSON.
func TestLogOfForeignText(t *testing.T) {
	for _, format := range []log.OutputFormat{log.TextFormat, log.JSONFormat} {
		var out bytes.Buffer
		logger := log.L.Logger
		output, formatter := logger.Out, logger.Formatter
		logger.SetOutput(Log{&out})
		if err := log.SetFormat(format); err != nil {
			t.Fatal(err)
		}
		logger.WithField("field", registrytest.ForeignText).Error("message " + registrytest.ForeignText + " of https://user:pass@host/path?token=x")
		logger.SetOutput(output)
		logger.SetFormatter(formatter)
		line, rest, _ := strings.Cut(out.String(), "\n")
		var object map[string]any
		err := json.Unmarshal([]byte(line), &object)
		if rest != "" || strings.ContainsFunc(line, isUnshown) || strings.Contains(line, "pass") || format == log.JSONFormat && (err != nil || object["field"] != registrytest.ForeignText) {
			t.Errorf("%s: %v: %+q", format, err, out.String())
		}
	}
}

func isUnshown(r rune) bool { return r != '\n' && !IsShown(r) }
