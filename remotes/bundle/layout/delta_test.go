package layout

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

func listOf(entries string) string { return `{"version":1,"leftOut":[` + entries + `]}` }

// TestHostileDelta: a list of what an archive leaves out cannot claim an index, name files outside, or be without bound. That
// it leaves out what nobody has is told by name when that is copied.
func TestHostileDelta(t *testing.T) {
	const config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of {}
	entry := func(mediaType, digest, at string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":2,"in":"v1\u001b[2J.tar","at":[%s]}`, mediaType, digest, at)
	}
	const blob = "application/octet-stream"
	for name, c := range map[string]struct{ list, says string }{
		"no JSON":             {`{"version":1,`, "nested-delta.json: "},
		"no list":             {`{"version":1,"leftOut":{}}`, "leftOut is not a list"},
		"another version":     {`{"version":2}`, "version 2 is not known"},
		"path as a digest":    {listOf(entry(blob, "sha256:../../../etc/passwd", "")), `leftOut[0]: digest "sha256:../`},
		"an index":            {listOf(entry(ocispec.MediaTypeImageIndex, config, "")), "is an index, and every index has to be there"},
		"negative size":       {listOf(strings.Replace(entry(blob, config, ""), `"size":2`, `"size":-2`, 1)), "size -2"},
		"size that overflows": {listOf(strings.Replace(entry(blob, config, ""), `"size":2`, `"size":99999999999999999999`, 1)), "nested-delta.json"},
		"path as repository":  {listOf(entry(blob, config, `"reg.test/../../x"`)), "leftOut[0]: repository"},
		"no repository":       {listOf(entry(blob, config, `""`)), "leftOut[0]: repository"},
		"too many":            {listOf(strings.Repeat("{},", maxEntries) + "{}"), "more than 100000 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := registrytest.NamedLayout("v1")
			f[deltaFile] = c.list
			dir := filepath.Join(t.TempDir(), "layout")
			clienttest.NoError(t, f.Write(dir))
			_, err := Open(t.Context(), Place{Path: dir})
			clienttest.WantError(t, err, c.says)
		})
	}
	f, _ := registrytest.NamedLayout("v1")
	delete(f, registrytest.LayoutBlob(digest.Digest(config)))
	f[deltaFile] = listOf(entry(blob, config, `"reg.test/org/app"`))
	dir := filepath.Join(t.TempDir(), "layout")
	clienttest.NoError(t, f.Write(dir))
	err := pullPlace(t, Place{Path: dir}, filepath.Join(t.TempDir(), "out"))
	if err == nil || !strings.Contains(err.Error(), "leaves out content that is not where it goes: "+Nowhere+"@"+config) {
		t.Errorf("got %v", err)
	}
}

// FuzzDelta: any text is refused, or is a list that reads back as itself.
func FuzzDelta(f *testing.F) {
	for _, text := range []string{"", "{}", listOf(""), listOf(`{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","at":["reg.test/a"],"members":["reg.test/b","reg.test/b"]}`), `{"version":1,"leftOut":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseDelta(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(list.file())
		clienttest.NoError(t, err)
		again, err := parseDelta(text)
		clienttest.NoError(t, err)
		if !reflect.DeepEqual(list.file(), again.file()) {
			t.Errorf("%s reads back as %+v", text, again)
		}
	})
}
