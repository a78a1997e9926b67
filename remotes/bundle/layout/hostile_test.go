//go:build unix

package layout

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

// hostilePlace is a directory where another user can write, with what that user has put there.
type hostilePlace struct {
	dir, victim string             // the victim is a directory of the user's, elsewhere, with the file "secret"
	layer       ocispec.Descriptor // large enough to be gathered
	ref         string
}

const secretText = "what nobody else may read or change"

// newHostilePlace publishes a bundle whose one layer is gathered in a file, and
// pulls it once, so that there is a layout "app" and an archive "app.tar".
func newHostilePlace(t *testing.T) hostilePlace {
	t.Helper()
	r := clienttest.NewRegistry(t)
	layer := r.PutBlob("org/app/web", ocispec.MediaTypeImageLayer, []byte(strings.Repeat("text", 100_000)))
	member := r.Artifact("org/app/web", "application/vnd.example", layer)
	r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(member, "web")).Digest)
	p := hostilePlace{t.TempDir(), t.TempDir(), layer, r.Host() + "/org/app:v1"}
	clienttest.NoError(t, os.WriteFile(filepath.Join(p.victim, "secret"), []byte(secretText), 0o600))
	return p
}

func (p hostilePlace) pull(t *testing.T, kind string, f *failpoints) error {
	t.Helper()
	return pullInto(t, kind, filepath.Join(p.dir, "app"), p.ref, f)
}

func (p hostilePlace) in(names ...string) string {
	return filepath.Join(append([]string{p.dir}, names...)...)
}

// checkVictim fails when anything has changed at the victim's.
func (p hostilePlace) checkVictim(t *testing.T) {
	t.Helper()
	files, err := os.ReadDir(p.victim)
	data, readErr := os.ReadFile(filepath.Join(p.victim, "secret"))
	if err != nil || readErr != nil || len(files) != 1 || string(data) != secretText {
		t.Errorf("the victim has %v, and in the file %q", files, data)
	}
}

// gathered is where the layer is gathered.
func (p hostilePlace) gathered(t *testing.T) string {
	return p.in("app", ingestFile(remotes.MakeRefKey(t.Context(), p.layer)))
}

// TestHostileDirectories: what others have put where a layout or an archive is
// to be makes the program write nowhere else, wait for nobody, and commit
// nothing else.
func TestHostileDirectories(t *testing.T) {
	another := func(t *testing.T, name string) { // owns it from now on
		if os.Geteuid() == 0 {
			clienttest.NoError(t, os.Lchown(name, 65534, 65534))
		}
	}
	link := func(to string, names ...string) func(*testing.T, hostilePlace) {
		return func(t *testing.T, p hostilePlace) {
			name := p.in(names...)
			clienttest.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
			clienttest.NoError(t, os.RemoveAll(name))
			clienttest.NoError(t, os.Symlink(filepath.Join(p.victim, to), name))
		}
	}
	pipe := func(names ...string) func(*testing.T, hostilePlace) {
		return func(t *testing.T, p hostilePlace) {
			clienttest.NoError(t, os.MkdirAll(filepath.Dir(p.in(names...)), 0o755))
			clienttest.NoError(t, os.RemoveAll(p.in(names...)))
			clienttest.NoError(t, syscall.Mkfifo(p.in(names...), 0o666))
		}
	}
	pulled := func(then func(*testing.T, hostilePlace)) func(*testing.T, hostilePlace) {
		return func(t *testing.T, p hostilePlace) {
			clienttest.NoError(t, p.pull(t, "layout", &failpoints{}))
			then(t, p)
		}
	}
	blob := func(p hostilePlace) string { return "app/" + blobFile(p.layer.Digest) }
	for name, c := range map[string]struct {
		kind  string
		put   func(*testing.T, hostilePlace)
		error string // none: it ends well
	}{
		"a link for the archive's directory": {"archive", link("", "app.partial"), "is in the way"},
		"a pipe for it":                      {"archive", pipe("app.partial"), "is in the way"},
		"a directory for it that all can write": {"archive", func(t *testing.T, p hostilePlace) {
			clienttest.NoError(t, os.Mkdir(p.in("app.partial"), 0o700))
			clienttest.NoError(t, os.Chmod(p.in("app.partial"), 0o777))
		}, "is in the way"},
		"a pipe for the archive":  {"archive", pipe("app"), "is not a regular file"},
		"a directory for it":      {"archive", func(t *testing.T, p hostilePlace) { clienttest.NoError(t, os.Mkdir(p.in("app"), 0o700)) }, "is not a regular file"},
		"a link for blobs":        {"layout", link("", "app", "blobs"), "is not a directory"},
		"a link for blobs/sha256": {"layout", link("", "app", "blobs", "sha256"), "is not a directory"},
		"a link for ingest":       {"layout", link("", "app", "ingest"), "is not a directory"},
		"a link for index.json":   {"layout", pulled(link("secret", "app", "index.json")), "escapes"},
		"a pipe for index.json":   {"layout", pulled(pipe("app", "index.json")), "is not a regular file"},
		"a link for a blob":       {"layout", pulled(func(t *testing.T, p hostilePlace) { link("secret", blob(p))(t, p) }), ""},
		"a pipe for a blob":       {"layout", pulled(func(t *testing.T, p hostilePlace) { pipe(blob(p))(t, p) }), ""},
		"a link for what is gathered": {"layout", func(t *testing.T, p hostilePlace) {
			clienttest.NoError(t, os.MkdirAll(filepath.Dir(p.gathered(t)), 0o755))
			clienttest.NoError(t, os.Symlink(filepath.Join(p.victim, "secret"), p.gathered(t)))
		}, ""},
		"a hard link for it": {"layout", func(t *testing.T, p hostilePlace) {
			clienttest.NoError(t, os.MkdirAll(filepath.Dir(p.gathered(t)), 0o755))
			clienttest.NoError(t, os.Link(filepath.Join(p.victim, "secret"), p.gathered(t)))
		}, ""},
		"a link for it, within the layout": {"layout", pulled(func(t *testing.T, p hostilePlace) { // and to what is the user's
			clienttest.NoError(t, os.Remove(p.in(blob(p))))
			clienttest.NoError(t, os.MkdirAll(filepath.Dir(p.gathered(t)), 0o755))
			clienttest.NoError(t, os.Symlink("../../oci-layout", p.gathered(t)))
		}), ""},
		"a pipe for what is gathered": {"layout", func(t *testing.T, p hostilePlace) {
			clienttest.NoError(t, os.MkdirAll(filepath.Dir(p.gathered(t)), 0o755))
			clienttest.NoError(t, syscall.Mkfifo(p.gathered(t), 0o666))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newHostilePlace(t)
			c.put(t, p)
			err := p.pull(t, c.kind, &failpoints{})
			if c.error == "" && err != nil || c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)) {
				t.Errorf("got %v, want %q", err, c.error)
			}
			p.checkVictim(t)
			if c.error == "" {
				checkIntact(t, filesOf(t, p.in("app")))
			}
		})
	}
	if os.Geteuid() != 0 {
		return // nobody else is at hand
	}
	t.Run("another's directory for an archive's", func(t *testing.T) {
		p := newHostilePlace(t)
		clienttest.NoError(t, os.Mkdir(p.in("app.partial"), 0o700))
		another(t, p.in("app.partial"))
		if err := p.pull(t, "archive", &failpoints{}); err == nil || !strings.Contains(err.Error(), "is in the way") {
			t.Error(err)
		}
	})
	t.Run("another's link for a layout", func(t *testing.T) {
		p := newHostilePlace(t)
		clienttest.NoError(t, os.Symlink(p.victim, p.in("app")))
		another(t, p.in("app"))
		if err := p.pull(t, "layout", &failpoints{}); err == nil || !strings.Contains(err.Error(), "another user has made") {
			t.Error(err)
		}
		p.checkVictim(t)
	})
	t.Run("what another has gathered", func(t *testing.T) {
		p := newHostilePlace(t)
		clienttest.NoError(t, os.MkdirAll(filepath.Dir(p.gathered(t)), 0o755))
		clienttest.NoError(t, os.WriteFile(p.gathered(t), []byte("text"), 0o666))
		another(t, p.gathered(t))
		open, err := os.OpenFile(p.gathered(t), os.O_WRONLY, 0) // and keeps open
		clienttest.NoError(t, err)
		defer open.Close()
		clienttest.NoError(t, p.pull(t, "layout", &failpoints{}))
		_, err = open.WriteAt([]byte("evil"), 0)
		clienttest.NoError(t, err)
		checkIntact(t, filesOf(t, p.in("app")))
	})
}

// TestHostileRenames: who can rename what is beside an archive may let the pull
// fail, but it is not told that all is well.
func TestHostileRenames(t *testing.T) {
	p := newHostilePlace(t)
	var found bool
	f := &failpoints{}
	before := func(change, path string) error {
		if change != "rename" || path != p.in("app") {
			return f.before(change, path)
		}
		names, err := filepath.Glob(p.in("app.partial", newFile+"*"))
		clienttest.NoError(t, err)
		clienttest.NoError(t, os.Rename(p.in("app.partial"), p.in("away")))
		clienttest.NoError(t, os.Mkdir(p.in("app.partial"), 0o755))
		for _, name := range names {
			found = true
			clienttest.NoError(t, os.WriteFile(name, []byte("evil"), 0o644))
		}
		return nil
	}
	a := newArchive(p.in("app"))
	a.before = before
	err := pullOpen(t, a, a.Layout, p.ref)
	if !found || err == nil || !strings.Contains(err.Error(), "is not what was written") {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := os.Stat(p.in("app.partial")); err != nil {
		t.Error(err) // it is not ours to remove
	}
}

// TestHostileGathering: what was gathered is not committed as something else,
// and what takes its place is noticed.
func TestHostileGathering(t *testing.T) {
	const text = "what was written"
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(text), Size: int64(len(text))}
	for name, c := range map[string]struct {
		written string
		put     func(t *testing.T, gathered string)
		error   string // none: it is committed
	}{
		"as it is":     {text, nil, ""},
		"other bytes":  {"what was wr1tten", nil, "digest is not"},
		"another size": {text + "!", nil, "size is 17, not 16"},
		"exchanged": {text, func(t *testing.T, gathered string) {
			clienttest.NoError(t, os.Rename(gathered, gathered+".away"))
			clienttest.NoError(t, os.WriteFile(gathered, []byte("what was wr1tten"), 0o600))
		}, "is not what was written"},
		"exchanged for a link": {text, func(t *testing.T, gathered string) {
			clienttest.NoError(t, os.Rename(gathered, gathered+".away"))
			clienttest.NoError(t, os.Symlink(gathered+".away", gathered))
		}, "is not what was written"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.OpenRoot(t.TempDir())
			clienttest.NoError(t, err)
			defer dir.Close()
			clienttest.NoError(t, dir.MkdirAll(filepath.Dir(blobFile(desc.Digest)), 0o700))
			w, err := (&store{dir, dir.Name()}).Writer(t.Context(), content.WithRef("x"), content.WithDescriptor(desc))
			clienttest.NoError(t, err)
			_, err = w.Write([]byte(c.written))
			clienttest.NoError(t, err)
			if c.put != nil {
				c.put(t, filepath.Join(dir.Name(), ingestFile("x")))
			}
			err = w.Commit(t.Context(), desc.Size, desc.Digest)
			if c.error == "" && err != nil || c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)) {
				t.Errorf("got %v, want %q", err, c.error)
			}
		})
	}
}

// TestLinksInLayouts: a blob that is a link, of either kind, to what is not that
// blob is not handed out, not even its first byte; one that is it, is.
func TestLinksInLayouts(t *testing.T) {
	p := newHostilePlace(t)
	clienttest.NoError(t, p.pull(t, "layout", &failpoints{}))
	whole := p.in("elsewhere")
	clienttest.NoError(t, os.Rename(p.in("app", blobFile(p.layer.Digest)), whole))
	secret := filepath.Join(p.victim, "secret")
	for name, c := range map[string]struct {
		link  func(from, to string) error
		to    string
		error string
	}{
		"symbolic, to it":    {os.Symlink, whole, ""},
		"hard, to it":        {os.Link, whole, ""},
		"symbolic, to other": {os.Symlink, secret, "is a link to something else"},
		"hard, to other":     {os.Link, secret, "is a link to something else"},
		"to a directory":     {os.Symlink, p.victim, "is not a regular file"},
		"to nothing":         {os.Symlink, p.in("nothing"), "not found"},
		"to a pipe": {func(_, to string) error {
			return errors.Join(syscall.Mkfifo(p.in("pipe"), 0o666), os.Symlink(p.in("pipe"), to))
		}, "", "is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			clienttest.NoError(t, os.RemoveAll(p.in("app", blobFile(p.layer.Digest))))
			clienttest.NoError(t, c.link(c.to, p.in("app", blobFile(p.layer.Digest))))
			l, err := Open(t.Context(), Place{Path: p.in("app")})
			clienttest.NoError(t, err)
			defer l.Close()
			r, err := l.Fetch(t.Context(), p.layer)
			if err != nil {
				if c.error == "" || !strings.Contains(err.Error(), c.error) {
					t.Errorf("got %v, want %q", err, c.error)
				}
				return
			}
			defer r.Close()
			data, err := io.ReadAll(r)
			if err != nil || int64(len(data)) != p.layer.Size || c.error != "" {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		})
	}
}

// TestPermissions: what is made is for everybody to read, and for nobody else
// to write.
func TestPermissions(t *testing.T) {
	p := newHostilePlace(t)
	clienttest.NoError(t, p.pull(t, "layout", &failpoints{}))
	clienttest.NoError(t, fs.WalkDir(os.DirFS(p.in("app")), ".", func(name string, d fs.DirEntry, err error) error {
		clienttest.NoError(t, err)
		info, err := d.Info()
		clienttest.NoError(t, err)
		if perm := info.Mode().Perm(); perm&0o022 != 0 || !d.IsDir() && perm&0o444 != 0o444 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
		return nil
	}))
}

// TestArchiveFromPipe: an archive that comes through a pipe is read to its end;
// one that nobody writes can be given up.
func TestArchiveFromPipe(t *testing.T) {
	f, _ := registrytest.NamedLayout("v1")
	var entries []tar.Header
	for name, text := range f {
		entries = append(entries, fileEntry(name, text))
	}
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	clienttest.NoError(t, syscall.Mkfifo(pipe, 0o600))
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, tarEntries(t, entries...), 0o600) }()
	clienttest.NoError(t, pullPlace(t, Place{Archive: true, Path: pipe}, filepath.Join(dir, "out")))
	clienttest.NoError(t, <-written)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Place{Archive: true, Path: pipe}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	end, err := os.OpenFile(pipe, os.O_RDWR, 0) // so that its reader ends, where it still waits
	clienttest.NoError(t, err)
	clienttest.NoError(t, end.Close())
}
