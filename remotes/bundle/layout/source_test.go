package layout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/bundle"
)

// TestNamesInLayouts: what a layout calls an image is how it can be named, as
// far as that is clear, whatever tool made the layout. Tags are made only of
// what is a tag.
func TestNamesInLayouts(t *testing.T) {
	const full, version, plain, containerd = "docker.io/library/nginx:1.27", "1.0.0+build.5", "v1", "v2=reg.test/org/app:v2"
	f, digests := registrytest.NamedLayout(full, version, plain, containerd, "ghcr.io/org/one:twice", "ghcr.io/org/two:twice", "nobody.test/x@"+string(digest.FromString("x")))
	dir := filepath.Join(t.TempDir(), "a:dir")
	clienttest.NoError(t, f.Write(dir))
	for _, c := range []struct{ reference, entry, tag, repository string }{
		{full, full, "1.27", "docker.io/library/nginx"},
		{"nginx:1.27", full, "1.27", "docker.io/library/nginx"},
		{"1.27", full, "1.27", "docker.io/library/nginx"},
		{version, version, "", Nowhere},
		{plain, plain, "v1", Nowhere},
		{"v2", containerd, "v2", "reg.test/org/app"},
		{"reg.test/org/app:v2", containerd, "v2", "reg.test/org/app"},
		{"ghcr.io/org/two:twice", "ghcr.io/org/two:twice", "twice", "ghcr.io/org/two"},
		{digests[full].String(), full, "", "docker.io/library/nginx"},
		{"nobody.test/x@" + string(digest.FromString("x")), "nobody.test/x@" + string(digest.FromString("x")), "", "nobody.test/x"},
	} {
		for _, separator := range []string{":", "@"} {
			if separator == "@" && digest.Digest(c.reference).Validate() != nil {
				continue
			}
			place, ok := ParsePlace("oci-layout:" + dir + separator + c.reference)
			if !ok || place.Path != dir || place.Reference != c.reference {
				t.Errorf("%s: parsed as %+v", c.reference, place)
			}
			l, err := Open(t.Context(), place)
			clienttest.NoError(t, err)
			root, err := l.root()
			if err != nil || root.Digest != digests[c.entry] || l.Tag() != c.tag || l.Repository().String() != c.repository {
				t.Errorf("%s: %s, %v, tag %q, repository %s", c.reference, root.Digest, err, l.Tag(), l.Repository())
			}
			clienttest.NoError(t, l.Close())
		}
	}
	for reference, want := range map[string]string{
		"twice":          "is the name of several images; name one by digest or by its full name: ghcr.io/org/one:twice (sha256:",
		"":               "holds several images; name one by its name or digest: docker.io/library/nginx:1.27 (sha256:",
		"nothing":        "no nothing in index.json, which has docker.io/library/nginx:1.27 (sha256:",
		"nginx":          "no nginx in index.json",
		"app:v2":         "no app:v2 in index.json",
		"docker.io/evil": "no docker.io/evil in index.json",
	} {
		place := Place{Path: dir, Reference: reference}
		l, err := Open(t.Context(), place)
		clienttest.NoError(t, err)
		if _, err = l.root(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", reference, err, want)
		}
		clienttest.NoError(t, l.Close())
	}
}

// TestParseLayout: what stands after the path of a layout that exists is the
// name, whatever is in it.
func TestParseLayout(t *testing.T) {
	t.Chdir(t.TempDir())
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, dir := range []string{"app", "both", "both:v1", "with:colon", "deep/er"} {
		clienttest.NoError(t, os.MkdirAll(dir, 0o755))
	}
	for in, want := range map[string]Place{
		"oci-layout:app":                    {Path: "app"},
		"oci-layout:app:v1":                 {Path: "app", Reference: "v1"},
		"oci-layout:app:a/b:v1":             {Path: "app", Reference: "a/b:v1"},
		"oci-layout:app:a/b":                {Path: "app", Reference: "a/b"},
		"oci-layout:app@" + d:               {Path: "app", Reference: d},
		"oci-layout:app:a/b@" + d:           {Path: "app", Reference: "a/b@" + d},
		"oci-layout:both:v1":                {Path: "both", Reference: "v1"},
		"oci-layout:with:colon":             {Path: "with:colon"},
		"oci-layout:with:colon:v1":          {Path: "with:colon", Reference: "v1"},
		"oci-layout:deep/er:h:5000/a/b:1+2": {Path: "deep/er", Reference: "h:5000/a/b:1+2"},
		"oci-layout:nowhere:v1":             {Path: "nowhere", Reference: "v1"},
		"oci-layout:no/where":               {Path: "no/where"},
		"oci-archive:-:v1":                  {Archive: true, Path: "-", Reference: "v1"},
		"oci-archive:-":                     {Archive: true, Path: "-"},
		"oci-archive:app:v1":                {Archive: true, Path: "app", Reference: "v1"},
	} {
		if got, ok := ParsePlace(in); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", in, got, want)
		}
	}
}

// TestParsePlaceWindows: the colon of a drive ends no path, and a backslash separates names. None of these is there.
func TestParsePlaceWindows(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x").String()
	for in, want := range map[string]Place{
		`oci-layout:C:\dir`:              {Path: `C:\dir`},
		`oci-layout:C:\dir:v1`:           {Path: `C:\dir`, Reference: "v1"},
		`oci-layout:c:/dir:v1`:           {Path: `c:/dir`, Reference: "v1"},
		`oci-layout:C:dir`:               {Path: `C:dir`},
		`oci-layout:C:dir:v1`:            {Path: `C:dir`, Reference: "v1"},
		`oci-layout:C:\dir@` + d:         {Path: `C:\dir`, Reference: d},
		`oci-archive:C:\x.tar`:           {Archive: true, Path: `C:\x.tar`},
		`oci-archive:D:\a b\x.tar:1+2`:   {Archive: true, Path: `D:\a b\x.tar`, Reference: "1+2"},
		`oci-layout:\\server\share\d:v1`: {Path: `\\server\share\d`, Reference: "v1"},
		`oci-layout:..\app:v1`:           {Path: `..\app`, Reference: "v1"},
		`oci-layout:app:v1`:              {Path: "app", Reference: "v1"},
		`oci-archive:-:v1`:               {Archive: true, Path: "-", Reference: "v1"},
	} {
		if got, ok := parsePlace("windows", in); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", in, got, want)
		}
	}
	want := Place{Path: "C", Reference: `\dir`}
	if got, _ := parsePlace("linux", `oci-layout:C:\dir`); got != want {
		t.Errorf("elsewhere: %+v, want %+v", got, want)
	}
}

// tarEntries is an archive of entries as they are, without the bytes at its end.
func tarEntries(tb testing.TB, entries ...tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		text := h.Xattrs["text"] //nolint:staticcheck // a field to carry it
		h.Xattrs = nil           //nolint:staticcheck // see above
		if h.Size = int64(len(text)); h.Mode == 0 {
			h.Mode = 0o644
		}
		clienttest.NoError(tb, w.WriteHeader(&h))
		_, err := w.Write([]byte(text))
		clienttest.NoError(tb, err)
	}
	clienttest.NoError(tb, w.Close())
	return b.Bytes()
}

func fileEntry(name, text string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Xattrs: map[string]string{"text": text}} //nolint:staticcheck // see tarEntries
}

func linkEntry(kind byte, name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: kind, Linkname: to}
}

// pullPlace pulls what a layout or an archive holds into a layout.
func pullPlace(t *testing.T, p Place, dir string) error {
	t.Helper()
	from, err := Open(t.Context(), p)
	if err != nil {
		return err
	}
	defer from.Close()
	b, err := from.Bundle(t.Context())
	if err != nil {
		return err
	}
	to, err := Create(dir)
	clienttest.NoError(t, err)
	_, err = bundle.Pull(t.Context(), b, to, Nowhere+":v1", bundle.PullOptions{})
	return errors.Join(err, to.Close())
}

// TestArchives: archives of every tool are read, or refused with what can be
// done before anything is written.
func TestArchives(t *testing.T) {
	f, digests := registrytest.NamedLayout("v1")
	manifest := blobFile(digests["v1"])
	without := func(name string, more ...tar.Header) []tar.Header {
		var entries []tar.Header
		for n, text := range f {
			if n != name {
				entries = append(entries, fileEntry(n, text))
			}
		}
		return append(entries, more...)
	}
	gzipped := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		clienttest.NoError(t, err)
		clienttest.NoError(t, w.Close())
		return b.Bytes()
	}
	var dotted []tar.Header
	for n, text := range f {
		dotted = append(dotted, fileEntry("./"+n, text))
	}
	pax := without("", tar.Header{})[:len(f)]
	for i := range pax {
		pax[i].Format, pax[i].PAXRecords = tar.FormatPAX, map[string]string{"comment": strings.Repeat("long ", 100)}
	}
	whole := tarEntries(t, without("")...)
	for name, c := range map[string]struct {
		data  []byte
		error string
	}{
		"plain":                      {whole, ""},
		"with ./ names":              {tarEntries(t, dotted...), ""},
		"with PAX headers":           {tarEntries(t, pax...), ""},
		"with a long name":           {tarEntries(t, without("", fileEntry(strings.Repeat("long/", 60)+"x", ""))...), ""},
		"with a symbolic link":       {tarEntries(t, without(manifest, fileEntry("data/m", f[manifest]), linkEntry(tar.TypeSymlink, manifest, "../../data/m"))...), ""},
		"with a hard link":           {tarEntries(t, without(manifest, fileEntry("data/m", f[manifest]), linkEntry(tar.TypeLink, "./"+manifest, "./data/m"))...), ""},
		"with a link of a directory": {tarEntries(t, append([]tar.Header{linkEntry(tar.TypeSymlink, "blobs/sha256", "../data"), fileEntry("index.json", f["index.json"])}, fileEntry("data/"+digests["v1"].Encoded(), f[manifest]), fileEntry("data/"+digest.FromString("{}").Encoded(), "{}"))...), ""},
		"a blob twice":               {tarEntries(t, append([]tar.Header{fileEntry(manifest, "older")}, without("")...)...), ""},
		"index.json twice":           {tarEntries(t, without("", fileEntry("./index.json", f["index.json"]))...), "index.json is in it twice"},
		"a link out of it":           {tarEntries(t, without(manifest, linkEntry(tar.TypeSymlink, manifest, "../../../etc/passwd"))...), "is a link that leads out of the archive"},
		"a hard link out of it":      {tarEntries(t, without(manifest, linkEntry(tar.TypeLink, manifest, "../x"))...), "is a link that leads out of the archive"},
		"a link to the root":         {tarEntries(t, without(manifest, linkEntry(tar.TypeSymlink, manifest, "/etc/passwd"))...), "is a link that leads out of the archive"},
		"a link to itself":           {tarEntries(t, without(manifest, linkEntry(tar.TypeSymlink, manifest, digests["v1"].Encoded()))...), "too many links"},
		"a link to nothing":          {tarEntries(t, without(manifest, linkEntry(tar.TypeLink, manifest, "nothing"))...), "not found"},
		"no manifest":                {tarEntries(t, without(manifest)...), "not found"},
		"no index.json":              {tarEntries(t, without("index.json")...), "is not an OCI image layout"},
		"cut off":                    {tarEntries(t, without("", fileEntry("zzz", strings.Repeat("x", 4096)))...)[:len(whole)], "cut off"},
		"no tar":                     {bytes.Repeat([]byte("text"), 1000), "not a tar file"},
		"empty":                      {nil, "it is empty"},
		"compressed":                 {gzipped(whole), "unpack it on the way: gzip -dc FILE | nestctl copy oci-archive:- DST"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "app.tar")
			clienttest.NoError(t, os.WriteFile(file, c.data, 0o600))
			err := pullPlace(t, Place{Archive: true, Path: file}, filepath.Join(dir, "out"))
			if c.error == "" && err != nil || c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)) {
				t.Errorf("%v, want %q", err, c.error)
			}
			index, err := os.ReadFile(filepath.Join(dir, "out", "index.json"))
			if written := err == nil && bytes.Contains(index, []byte(digests["v1"])); written != (c.error == "") {
				t.Errorf("written: %s", index)
			}
		})
	}
	t.Run("with holes", func(t *testing.T) {
		dir := t.TempDir()
		clienttest.NoError(t, f.Write(filepath.Join(dir, "layout")))
		hole := filepath.Join(dir, "layout", "blobs", "sha256", strings.Repeat("0", 64))
		clienttest.NoError(t, os.WriteFile(hole, nil, 0o600))
		clienttest.NoError(t, os.Truncate(hole, 1<<20))
		for _, format := range []string{"gnu", "pax"} {
			file := filepath.Join(dir, format+".tar")
			out, err := exec.Command("tar", "--sparse", "--format="+format, "-C", filepath.Join(dir, "layout"), "-cf", file, ".").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			err = pullPlace(t, Place{Archive: true, Path: file}, filepath.Join(dir, "out"))
			if err == nil || !strings.Contains(err.Error(), "is stored with holes; make the archive without --sparse") {
				t.Errorf("%s: %v", format, err)
			}
		}
	})
}

// TestManyEntries: an index.json of empty entries does not take a hundred times its size in memory.
func TestManyEntries(t *testing.T) {
	entry := `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + string(digest.FromString("x")) + `","size":1}`
	for name, test := range map[string]struct {
		entry string
		n     int
		says  string
	}{
		"as many as there may be": {entry, maxEntries, ""},
		"one more":                {entry, maxEntries + 1, "index.json: it has more than 100000 entries"},
		"empty ones":              {"{}", 10 * maxEntries, "index.json: it has more than 100000 entries"},
		"none of them":            {"1", 1, "index.json: json: cannot unmarshal number"},
	} {
		dir := t.TempDir()
		clienttest.NoError(t, registrytest.LayoutFiles{ocispec.ImageLayoutFile: `{"imageLayoutVersion":"1.0.0"}`, ocispec.ImageIndexFile: `{"manifests":[` + strings.Repeat(test.entry+",", test.n-1) + test.entry + "]}"}.Write(dir))
		l, err := Open(t.Context(), Place{Path: dir})
		switch {
		case err == nil:
			if err = l.Close(); test.says != "" || len(l.index.Manifests) != test.n || err != nil {
				t.Errorf("%s: %d entries, %v", name, len(l.index.Manifests), err)
			}
		case test.says == "" || !strings.Contains(err.Error(), test.says):
			t.Errorf("%s: %.300v", name, err)
		}
	}
}
