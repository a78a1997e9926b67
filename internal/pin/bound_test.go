package pin

import (
	"runtime"
	"strings"
	"testing"
)

// TestTinyValuesAreRefused: a text of 8 MiB that has little but values is refused before it is parsed.
func TestTinyValuesAreRefused(t *testing.T) {
	for _, shape := range []struct{ begin, value, end string }{
		{"x: [", "a,", "]"},
		{"x: {", "a: b,", "}"},
		{"x: [", "[],", "]"},
		{"", "- a\n", ""},
		{"", "-\r", ""},
		{"", "-\u0085", ""},
		{"x: {", "a\r,", "}"},
		{"", "- image: a\n", ""},
		{"", "--- a\n", ""},
		{"x: &a [b]\ny: [", "*a ,", "]"},
	} {
		text := shape.begin + strings.Repeat(shape.value, (maxSize-100)/len(shape.value)) + shape.end
		for name, read := range map[string]func() error{
			"manifests": func() error { _, err := parse("x", []byte(text)); return err },
			"values":    func() error { _, err := parseValues("x", []byte(text)); return err },
		} {
			var err error
			if used := allocated(func() { err = read() }); used > 64<<20 || err == nil || !strings.Contains(err.Error(), "keys and values; split it") {
				t.Errorf("%s of %q: %v, after %d MiB", name, shape.value, err, used>>20)
			}
		}
	}
}

// TestQuotedImagesCostNoParser: a text that is just within the bound, all of it quoted images, takes 0.5 GiB of memory in all,
// and 3 GiB when each image has a parser of its own.
func TestQuotedImagesCostNoParser(t *testing.T) {
	var err error
	text := []byte(strings.Repeat("- \"image\": \"abc\"\n", maxValues/3-10))
	if used := allocated(func() { _, err = parse("x", text) }); used > 3<<29 || err != nil {
		t.Errorf("%d MiB, %v", used>>20, err)
	}
}

// allocated is how many bytes a function allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
