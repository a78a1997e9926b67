package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/internal/sanitize"
)

// reading are the commands that read documents. REG is the registry, DIR a new
// directory with the layout "hostile", the archive "hostile.tar" and the
// manifest "pod.yaml"; the documents are org/app:v1 and org/app/web:v1.
var reading = []string{
	"pull --all-platforms --to oci-layout:DIR/out REG/org/app:v1",
	"pull --all-platforms --format json --to oci-archive:DIR/out.tar REG/org/app:v1",
	"pull --member web --to oci-layout:DIR/out REG/org/app:v1",
	"pull --all-platforms --to oci-layout:DIR/hostile REG/org/app/web:v1",
	"tree REG/org/app:v1",
	"tree --format json REG/org/app:v1",
	"check REG/org/app:v1",
	"check --strict --format json REG/org/app:v1",
	"resolve REG/org/app:v1",
	"resolve --format json REG/org/app:v1",
	"resolve --format env REG/org/app:v1",
	"resolve --format kustomize REG/org/app:v1",
	"resolve -f DIR/pod.yaml REG/org/app:v1",
	"copy REG/org/app:v1 oci-layout:DIR/out",
	"copy --sparse --referrers --format json REG/org/app:v1 oci-archive:DIR/out.tar",
	"copy --dry-run --format json REG/org/app:v1 REG/prod/app",
	"copy --flatten REG/org/app:v1 REG/prod/app",
	"copy --referrers REG/org/app:v1 REG/prod/app",
	"copy --from-parents --strategy reference --member web REG/org/app:v1 REG/prod/app",
	"copy REG/org/app/web:v1 oci-layout:DIR/hostile",
	"copy oci-layout:DIR/hostile oci-layout:DIR/out",
	"copy oci-layout:DIR/hostile:v1 REG/prod/app",
	"copy --format json oci-archive:DIR/hostile.tar oci-layout:DIR/out",
	"copy --referrers --dry-run oci-archive:DIR/hostile.tar REG/prod/app",
	"index create --dry-run REG/org/app:v2 REG/org/app/web:v1",
	"index create --format json REG/org/app:v2 REG/org/app/web:v1",
	"index create --strategy anchor REG/org/app:v2 REG/org/app/web:v1",
	"index add --dry-run REG/org/app:v1 REG/org/app/web:v1",
	"index add --replace REG/org/app:v1 REG/org/app/web:v1",
	"index remove --dry-run REG/org/app:v1 web",
	"index show REG/org/app:v1",
	"index unprotect REG/org/app:v1",
	"prune --keep 1 REG/org/app",
	"prune --older 1h --keep-tag v* --format json REG/org/app",
}

// asStands are the commands whose result is somebody else's bytes.
var asStands = []string{"index show", "resolve -f"}

var documentTypes = []string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, "application/octet-stream",
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json", "text/\u009b",
}

// documentScene is a registry with documents, and a directory with the same in
// a layout and in an archive.
type documentScene struct {
	*registrytest.Registry
	dir string
}

// newDocumentScene publishes a document that may name another, as DIGEST, of
// the size SIZE.
func newDocumentScene(tb testing.TB, r *registrytest.Registry, mediaType, document, other string) documentScene {
	tb.Helper()
	member := r.Put("org/app/web", documentTypes[1], []byte(other), "v1")
	r.PutBlob("org/app/web", "application/octet-stream", []byte(other))
	document = strings.NewReplacer("DIGEST", member.Digest.String(), "SIZE", strconv.FormatInt(member.Size, 10)).Replace(document)
	for _, repository := range []string{"org/app", "org/app/web"} {
		d := r.Put(repository, mediaType, []byte(document), "v1")
		r.PutBlob(repository, "application/octet-stream", []byte(document))
		tb.Cleanup(func() { r.Delete(repository, d.Digest) })
	}
	tb.Cleanup(func() { r.Delete("org/app/web", member.Digest) })
	s := documentScene{r, tb.TempDir()}
	s.layout(tb, document, other, member)
	return s
}

// layout writes the document as an index.json, and as a blob beside it.
func (s documentScene) layout(tb testing.TB, document, other string, member ocispec.Descriptor) {
	tb.Helper()
	self := ocispec.Descriptor{Digest: digest.FromString(document)}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, data := range map[string]string{
		"hostile/oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "hostile/index.json": document,
		"hostile/" + registrytest.LayoutBlob(member.Digest): other, "hostile/" + registrytest.LayoutBlob(self.Digest): document,
		"pod.yaml": "image: " + s.Host() + "/org/app/web:v1\n",
	} {
		file := filepath.Join(s.dir, name)
		clienttest.NoError(tb, os.MkdirAll(filepath.Dir(file), 0o755))
		clienttest.NoError(tb, os.WriteFile(file, []byte(data), 0o600))
		if inside, ok := strings.CutPrefix(name, "hostile/"); ok {
			clienttest.NoError(tb, w.WriteHeader(&tar.Header{Name: "./" + inside, Mode: 0o644, Size: int64(len(data))}))
			_, err := w.Write([]byte(data))
			clienttest.NoError(tb, err)
		}
	}
	clienttest.NoError(tb, w.Close())
	clienttest.NoError(tb, os.WriteFile(filepath.Join(s.dir, "hostile.tar"), archive.Bytes(), 0o600))
}

// run runs a command, and fails when its exit status is none, or when its
// output holds what must not reach a terminal.
func (s documentScene) run(tb testing.TB, command string) (status int, stdout, stderr string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args := append([]string{"--plain-http", "--hosts-dir", s.dir}, strings.Fields(strings.NewReplacer("REG", s.Host(), "DIR", s.dir).Replace(command))...)
	var out bytes.Buffer
	var errs sharedBuffer
	status = run(ctx, slices.Concat(args[3:], args[:3]), &out, &errs)
	if status < 0 || status > invalid || ctx.Err() != nil {
		tb.Errorf("%s: exit status %d, %v", command, status, ctx.Err())
	}
	if status != 0 && errs.String() == "" {
		tb.Errorf("%s: exit status %d, and not a word", command, status)
	}
	raw := slices.ContainsFunc(asStands, func(c string) bool { return strings.HasPrefix(command, c) })
	if text := errs.String() + out.String(); !raw && !utf8.ValidString(text) || strings.ContainsFunc(errs.String(), unshown) || !raw && strings.ContainsFunc(text, unshown) {
		tb.Errorf("%s: printed %+q", command, text)
	}
	if status == 0 && strings.Contains(command, "json ") && !json.Valid(out.Bytes()) {
		tb.Errorf("%s: printed %q", command, out.String())
	}
	return status, out.String(), errs.String()
}

// sharedBuffer takes what is logged, which may go on when a command has ended.
type sharedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *sharedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *sharedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func unshown(r rune) bool { return r != '\n' && !sanitize.IsShown(r) }

// quiet keeps the machine's own settings out of a test.
func quiet(tb testing.TB) {
	tb.Helper()
	dir := tb.TempDir()
	for _, name := range []string{"DOCKER_CONFIG", "XDG_RUNTIME_DIR", "HOME"} {
		tb.Setenv(name, dir)
	}
	tb.Setenv("REGISTRY_AUTH_FILE", "")
	tb.Setenv("DOCKER_AUTH_CONFIG", "")
}

// hostileDocuments begin the fuzzing, and are what TestHostileDocuments tries.
var hostileDocuments = map[string]struct {
	document, other string
}{
	"a bundle":               {bundleOf(`"web"`), manifestOf(`{}`)},
	"no relative path":       {bundleOf(`"../up"`), manifestOf(`{}`)},
	"no text":                {bundleOf(`7`), manifestOf(`{}`)},
	"two that contradict":    {bundleOf(`"web"},"namespace":"other","x":{"y":1`), manifestOf(`{}`)},
	"a key twice":            {strings.Replace(bundleOf(`"web"`), `"size"`, `"size":1,"size"`, 1), manifestOf(`{}`)},
	"a digest that is none":  {strings.Replace(bundleOf(`"web"`), "DIGEST", "sha256:../../x", 1), manifestOf(`{}`)},
	"a digest without colon": {strings.Replace(bundleOf(`"web"`), "DIGEST", "x", 1), manifestOf(`{}`)},
	"no digest":              {strings.Replace(bundleOf(`"web"`), "DIGEST", "", 1), manifestOf(`{}`)},
	"no size":                {strings.Replace(bundleOf(`"web"`), "SIZE", "-1", 1), manifestOf(`{}`)},
	"a member that is none":  {bundleOf(`"web"`), `{"schemaVersion":2,"layers":[{}]}`},
	"a list":                 {`[1]`, `[]`},
	"nothing":                {`null`, `null`},
	"no JSON":                {`{`, `}`},
	"a plain index of nothing": {`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",` +
		`"manifests":[{},{"digest":"md5:x","size":-1},{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:","annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`, `{}`},
	"a carrier of nothing": {`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.nestedoci.carrier.v1+json",` +
		`"config":{},"layers":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"DIGEST","size":SIZE,"data":"e30="}]}`, bundleOf(`"../up"`)},
	"its own subject": {`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","subject":{"digest":"x"},"config":{"digest":"y"},"layers":[null]}`, `{}`},
}

func bundleOf(child string) string {
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"digest":"DIGEST","size":SIZE,"annotations":{"io.github.nestedoci.child-namespace":` + child + `}}]}`
}

func manifestOf(config string) string {
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json",` +
		`"digest":"` + digest.FromString(config).String() + `","size":` + strconv.Itoa(len(config)) + `},"layers":[]}`
}

// TestHostileDocuments: no command panics because of a document, whatever it
// says; a command that reads an index with an invalid child namespace ends with
// the exit status for that.
func TestHostileDocuments(t *testing.T) {
	quiet(t)
	r := clienttest.NewRegistry(t)
	up := hostileDocuments["no relative path"]
	for name, h := range hostileDocuments {
		t.Run(name, func(t *testing.T) {
			for i, command := range reading { // each media type in its turn
				newDocumentScene(t, r, documentTypes[(i+len(name))%len(documentTypes)], h.document, h.other).run(t, command)
			}
		})
	}
	for _, command := range reading {
		status, _, stderr := newDocumentScene(t, r, documentTypes[0], up.document, up.other).run(t, command)
		if !strings.Contains(command, "/hostile") && status != invalid {
			t.Errorf("%s: exit status %d, want %d: %s", command, status, invalid, stderr)
		}
	}
}

// TestEveryReaderIsFuzzed: what takes a reference reads manifests, and so is among the commands that are fuzzed.
func TestEveryReaderIsFuzzed(t *testing.T) {
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		path := strings.TrimPrefix(c.CommandPath(), "nestctl ")
		fuzzed := slices.ContainsFunc(reading, func(command string) bool { return strings.HasPrefix(command, path+" ") })
		if path == "doctor" { // internal/doctor has FuzzManifest: it asks the gateway
			fuzzed = true
		}
		if reads := regexp.MustCompile(`\b(REF|SRC|DEST)\b`); reads.MatchString(c.Use) && !fuzzed {
			t.Errorf("nestctl %s is not fuzzed", path)
		}
		for _, below := range c.Commands() {
			check(below)
		}
	}
	check(newRoot())
}

// FuzzCommands does the same with documents that nobody thought of. Which
// command reads them, and as what, is the fuzzer's choice, too.
func FuzzCommands(f *testing.F) {
	quiet(f)
	r := registrytest.New()
	f.Cleanup(r.Close)
	documents := slices.Sorted(maps.Keys(hostileDocuments)) // TestHostileDocuments has each with each command
	for i := range max(len(documents), len(reading)) {
		h := hostileDocuments[documents[i%len(documents)]]
		f.Add(uint8(i%len(reading)), uint8(i%len(documentTypes)), h.document, h.other)
	}
	f.Fuzz(func(t *testing.T, command, mediaType uint8, document, other string) {
		s := newDocumentScene(t, r, documentTypes[int(mediaType)%len(documentTypes)], document, other)
		s.run(t, reading[int(command)%len(reading)])
		r.ResetLog()
	})
}
