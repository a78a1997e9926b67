package nested

import (
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// commonIndex is one of a common form, with a place to put something into.
const commonIndex = `{"schemaVersion":2, "mediaType":"application/vnd.oci.image.index.v1+json",
"annotations":{"org.test/x":"y"},
"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"DIGEST","size":12,"artifactType":"a/b",
"platform":{"architecture":"arm","os":"linux","variant":"v7","os.version":"1"},
"annotations":{"io.github.nestedoci.child-namespace":"web"}},
{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"DIGEST","size":0012,"namespace":"a/b"}]}`

func commonText(changes ...string) string {
	text := strings.ReplaceAll(commonIndex, "DIGEST", digest.FromString("x").String())
	return strings.NewReplacer(append([]string{"0012", "12"}, changes...)...).Replace(text)
}

// uncommon are changes of it that are left to the slow way.
var uncommon = [][]string{
	{`"os":`, `"Os":`}, {`"os":"linux"`, `"os":"linux","os":"linux"`}, {`"os":"linux"`, `"os":null`}, {"linux", `l\u0069nux`},
	{"linux", "linüx"}, {`"size":12`, `"size":1e1`}, {`"size":12`, `"size":-1`}, {`"size":12`, `"size":0`}, {`"size":12`, `"size":0x1`},
	{`"schemaVersion":2`, `"schemaVersion":2,"subject":{}`}, {"org.test/x", "mediatype"}, {"org.test/x", "IO.github.nestedoci.child-namespace"},
	{`"web"`, `"Web"`}, {`"web"`, `""`}, {`"web"`, `null`}, {`"namespace":"a/b"`, `"namespace":"..","x":1`}, {"]}", "]} x"}, {"]}", "],}"}, {"]}", "]"},
	{`"a/b"}`, `"a/b",}`}, {"sha256:", "sha512:"}, {`"artifactType"`, `"data"`}, {"image.index", "image.indices"},
	{`"web"}`, `"web"},"namespace":"other"`}, {`"size":12`, `"size":9223372036854775808`},
}

func checkFast(t *testing.T, text string) bool {
	t.Helper()
	r := NewRule(Keys{}, Limits{})
	fast, ok := r.readFast(ocispec.MediaTypeImageIndex, []byte(text))
	if !ok {
		return false
	}
	slow, err := r.decode(ocispec.MediaTypeImageIndex, []byte(text), false)
	if err != nil || !reflect.DeepEqual(fast, slow) {
		t.Errorf("%s\nis read as %+v, slowly as %+v, %v", text, fast, slow, err)
	}
	return true
}

// TestFastReader: what publishers write is read fast, and as it is read slowly; what is not of that form is left to that.
func TestFastReader(t *testing.T) {
	t.Parallel()
	same := [][]string{
		nil, {"\n", "\r\n\t "}, {`"web"}`, `"web"},"namespace":"web"`}, {`"annotations":{"org.test/x":"y"},`, ""}, {`{"org.test/x":"y"}`, `{}`},
		{`"platform":{"architecture":"arm","os":"linux","variant":"v7","os.version":"1"}`, `"platform":{}`},
	}
	for _, changes := range same {
		if !checkFast(t, commonText(changes...)) {
			t.Errorf("not read: %s", commonText(changes...))
		}
	}
	for _, changes := range uncommon {
		if text := commonText(changes...); text == commonText() || checkFast(t, text) {
			t.Errorf("read, or not changed at all: %s", text)
		}
	}
	if checkFast(t, commonText(`"annotations":{"io.github.nestedoci.child-namespace":"web"}`, `"annotations":{}`, `,"namespace":"a/b"`, "")) {
		t.Error("an index without a child namespace was read")
	}
}

func FuzzFastReader(f *testing.F) {
	f.Add(commonText())
	for _, changes := range uncommon {
		f.Add(commonText(changes...))
	}
	f.Fuzz(func(t *testing.T, text string) { checkFast(t, text) })
}
