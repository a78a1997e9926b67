package layout

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/internal/usage"
)

// newParts pulls a bundle into an archive in parts of 900 bytes, which do not end where blocks of a tar file do.
func newParts(t *testing.T, tag string) (file, ref string) {
	t.Helper()
	r := clienttest.NewRegistry(t)
	layer := registrytest.TarLayer(map[string]string{"file": strings.Repeat(tag, 5_000)})
	r.Tag("org/app", tag, r.Index("org/app", registrytest.Member(r.Image("org/app/web", layer), "web")).Digest)
	file, ref = filepath.Join(t.TempDir(), "app.tar"), r.Host()+"/org/app:"+tag
	clienttest.NoError(t, pullIntoParts(t, file, ref, 900, new(failpoints)))
	return file, ref
}

func pullIntoParts(t *testing.T, file, ref string, size int64, f *failpoints) error {
	t.Helper()
	a := newArchive(file)
	a.partSize, a.before = size, f.before
	return pullOpen(t, a, a.Layout, ref)
}

// TestParts: joined, the parts are the archive that is written without them, and sha256sum knows the checksums. It is found
// by the name that it was given, by that of any part and by that of the checksums.
func TestParts(t *testing.T) {
	file, ref := newParts(t, "v1")
	whole := filepath.Join(t.TempDir(), "whole")
	clienttest.NoError(t, pullInto(t, "archive", whole, ref, new(failpoints)))
	want, err := os.ReadFile(whole)
	clienttest.NoError(t, err)
	names := clienttest.Must(filepath.Glob(file + "*"))
	if count := (len(want)+899)/900 + 1; len(names) != count || names[len(names)-1] != file+sumsSuffix {
		t.Errorf("there are %q, want %d", names, count)
	}
	var parts []byte
	for _, name := range names[:len(names)-1] {
		parts = append(parts, clienttest.Must(os.ReadFile(name))...)
	}
	if !bytes.Equal(parts, want) {
		t.Errorf("joined they are %d bytes, want %d", len(parts), len(want))
	}
	if sums, absent := exec.LookPath("sha256sum"); absent == nil {
		cmd := exec.CommandContext(t.Context(), sums, "--strict", "-c", filepath.Base(file)+sumsSuffix)
		cmd.Dir = filepath.Dir(file)
		if out, failed := cmd.CombinedOutput(); failed != nil {
			t.Errorf("%v: %s", failed, out)
		}
	}
	for _, name := range names {
		clienttest.NoError(t, pullPlace(t, Place{Archive: true, Path: name}, filepath.Join(t.TempDir(), "out")))
	}
	place, ok := ParsePlace("oci-archive:" + file + ":reg.test/org/app:v1")
	if !ok || place.Path != file || place.Reference != "reg.test/org/app:v1" {
		t.Errorf("parsed as %+v", place)
	}
	if _, err = CreateParts(whole, 900); !errors.As(err, new(usage.Error)) {
		t.Errorf("beside a file: %v", err)
	}
}

// TestWrongParts: a part that is missing, cut short, doubled, changed, of another run or no file is named, before anything
// is written.
func TestWrongParts(t *testing.T) {
	good, _ := newParts(t, "v1")
	other, _ := newParts(t, "v2")
	part := func(file string, n int) string { return partName(file, n) }
	write := func(name string, data []byte) error { return os.WriteFile(name, data, 0o600) }
	edit := func(name string, change func([]byte) []byte) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return write(name, change(data))
	}
	last := len(clienttest.Must(filepath.Glob(good + ".0*"))) // parts
	for name, c := range map[string]struct {
		do   func(file string) error
		says []string
	}{
		"a part is missing":      {func(f string) error { return os.Remove(part(f, 2)) }, []string{"these are missing: app.tar.002"}},
		"the first part":         {func(f string) error { return os.Remove(part(f, 1)) }, []string{"these are missing: app.tar.001"}},
		"the last part":          {func(f string) error { return os.Remove(part(f, last)) }, []string{fmt.Sprintf("these are missing: app.tar.%03d", last)}},
		"two parts":              {func(f string) error { return errors.Join(os.Remove(part(f, 1)), os.Remove(part(f, 3))) }, []string{"these are missing: app.tar.001, app.tar.003"}},
		"checksums are missing":  {func(f string) error { return os.Remove(f + sumsSuffix) }, []string{"app.tar.SHA256SUMS is missing"}},
		"cut short":              {func(f string) error { return os.Truncate(part(f, 2), 10) }, []string{"app.tar.002 has 10 bytes, and the others 900: it was cut short"}},
		"the first is cut short": {func(f string) error { return os.Truncate(part(f, 1), 899) }, []string{"app.tar.001 has 899 bytes"}},
		"the last is cut short":  {func(f string) error { return os.Truncate(part(f, last), 1) }, []string{fmt.Sprintf("app.tar.%03d does not match its checksum", last)}},
		"empty":                  {func(f string) error { return os.Truncate(part(f, last), 0) }, []string{fmt.Sprintf("app.tar.%03d has 0 bytes", last)}},
		"doubled":                {func(f string) error { return write(part(f, 2), clienttest.Must(os.ReadFile(part(f, 1)))) }, []string{"app.tar.002 is a copy of app.tar.001"}},
		"changed":                {func(f string) error { return edit(part(f, 2), func(b []byte) []byte { b[100]++; return b }) }, []string{"app.tar.002 does not match its checksum in app.tar.SHA256SUMS: it was changed, or it is of another run"}},
		"of another run":         {func(f string) error { return write(part(f, 3), clienttest.Must(os.ReadFile(part(other, 3)))) }, []string{"app.tar.003 ", "of another run"}},
		"checksums of another":   {func(f string) error { return write(f+sumsSuffix, clienttest.Must(os.ReadFile(other+sumsSuffix))) }, []string{"does not match its checksum", "of another run"}},
		"one too many":           {func(f string) error { return write(part(f, last+1), []byte("old")) }, []string{fmt.Sprintf("do not belong to it, but to another run: app.tar.%03d; remove", last+1)}},
		"some after a gap": {func(f string) error {
			return errors.Join(write(part(f, 99), nil), write(part(f, 999), nil))
		}, []string{"another run: app.tar.099, app.tar.999; remove"}},
		"in several directories": {func(f string) error {
			elsewhere := filepath.Join(filepath.Dir(f), "2")
			return errors.Join(os.Mkdir(elsewhere, 0o700), os.Rename(part(f, 2), part(filepath.Join(elsewhere, "app.tar"), 2)))
		}, []string{"these are missing: app.tar.002; bring all of them into one directory"}},
		"a link": {func(f string) error {
			return errors.Join(os.Rename(part(f, 2), f+"-2"), os.Symlink(f+"-2", part(f, 2)))
		}, []string{"app.tar.002 is not a regular file"}},
		"a device":    {func(f string) error { return errors.Join(os.Remove(part(f, 2)), os.Symlink("/dev/zero", part(f, 2))) }, []string{"app.tar.002 is not a regular file"}},
		"a pipe":      {func(f string) error { return errors.Join(os.Remove(part(f, 2)), mkfifo(part(f, 2))) }, []string{"app.tar.002 is not a regular file"}},
		"a directory": {func(f string) error { return errors.Join(os.Remove(part(f, 2)), os.Mkdir(part(f, 2), 0o700)) }, []string{"app.tar.002 is not a regular file"}},
		"checksums are a link": {func(f string) error {
			return errors.Join(os.Rename(f+sumsSuffix, f+"-2"), os.Symlink(f+"-2", f+sumsSuffix))
		}, []string{"app.tar.SHA256SUMS is not a regular file"}},
		"checksums of elsewhere": {func(f string) error {
			return edit(f+sumsSuffix, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("app.tar.002"), []byte("../app.tar.002")) })
		}, []string{"app.tar.SHA256SUMS: ", "app.tar.002 is not among them"}},
		"a checksum twice":        {func(f string) error { return edit(f+sumsSuffix, func(b []byte) []byte { return append(b, b...) }) }, []string{`"app.tar.001" is in it twice`}},
		"no checksums":            {func(f string) error { return write(f+sumsSuffix, nil) }, []string{"it names no part"}},
		"no checksum":             {func(f string) error { return write(f+sumsSuffix, []byte("\x1b[2Jnothing\n")) }, []string{"is not a checksum and a name"}},
		"checksums without end":   {func(f string) error { return os.Truncate(f+sumsSuffix, maxSums+1) }, []string{"more than such a file may have"}},
		"checksums for thousands": {func(f string) error { return write(f+sumsSuffix, thousandSums()) }, []string{"more than 999 parts"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			clienttest.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Dir(good))))
			file := filepath.Join(dir, "app.tar")
			clienttest.NoError(t, c.do(file))
			out := filepath.Join(t.TempDir(), "out")
			err := pullPlace(t, Place{Archive: true, Path: file}, out)
			clienttest.WantError(t, err, c.says...)
			if _, there := os.Lstat(out); there == nil {
				t.Error("something was written")
			}
			if missing := strings.Contains(c.says[0], "missing"); missing != errdefs.IsNotFound(err) {
				t.Errorf("class of %v", err)
			}
		})
	}
}

func thousandSums() []byte {
	var text bytes.Buffer
	for n := range 1001 {
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(nil), partName("app.tar", n+1))
	}
	return text.Bytes()
}

// TestPartsInterrupted: whatever fails while parts are written over those of an earlier run, or whenever the program ends,
// what is there is the one archive or the other, or is refused. The same pull again completes it.
func TestPartsInterrupted(t *testing.T) {
	r := clienttest.NewRegistry(t)
	for tag, size := range map[string]int{"v1": 30_000, "v2": 9_000} {
		layer := registrytest.TarLayer(map[string]string{"file": strings.Repeat(tag, size/2)})
		r.Tag("org/app", tag, r.Index("org/app", registrytest.Member(r.Image("org/app/web", layer), "web")).Digest)
	}
	before, ref := r.Host()+"/org/app:v1", r.Host()+"/org/app:v2"
	start := func(t *testing.T) string {
		file := filepath.Join(t.TempDir(), "app.tar")
		clienttest.NoError(t, pullIntoParts(t, file, before, 1024, new(failpoints)))
		return file
	}
	read := func(file string) map[string]string {
		opened, err := openParts(t.Context(), file, true)
		if err != nil {
			return nil
		}
		defer opened.Close()
		list, err := readTar(opened)
		clienttest.NoError(t, err)
		files := map[string]string{}
		for name, f := range list.files {
			data := make([]byte, f.size)
			_, err := opened.ReadAt(data, f.offset)
			clienttest.NoError(t, err)
			files[name] = string(data)
		}
		return files
	}
	whole := start(t)
	was := read(whole)
	clienttest.NoError(t, pullIntoParts(t, whole, ref, 1024, new(failpoints)))
	want := read(whole)
	if len(want) == 0 || maps.Equal(was, want) {
		t.Fatal("nothing to be told apart")
	}
	every := 1
	if testing.Short() {
		every = 4 // `make test-all` has them all
	}
	for name, forever := range map[string]bool{"disk": false, "killed": true} {
		for at := 1; ; at += every {
			f, file := &failpoints{at: at, cause: errCut, forever: forever}, start(t)
			err := pullIntoParts(t, file, ref, 1024, f)
			if f.failed == "" {
				clienttest.NoError(t, err)
				if at < 15 {
					t.Fatalf("only %d changes", at)
				}
				break
			}
			if !errors.Is(err, errCut) {
				t.Errorf("%s: %s failed: %v", name, f.failed, err)
			}
			if got := read(file); got != nil && !maps.Equal(got, was) && !maps.Equal(got, want) {
				t.Errorf("%s: %s failed: %q", name, f.failed, slices.Sorted(maps.Keys(got)))
			}
			clienttest.NoError(t, pullIntoParts(t, file, ref, 1024, new(failpoints)))
			if !maps.Equal(read(file), want) {
				t.Errorf("%s: %s failed, then again: something else", name, f.failed)
			}
			left := clienttest.Must(filepath.Glob(file + "*"))
			if wanted := clienttest.Must(filepath.Glob(whole + "*")); len(left) != len(wanted) {
				t.Errorf("%s: %s failed: left over: %q", name, f.failed, left)
			}
		}
	}
}

// TestManyParts: parts whose names would not sort are refused before one is written.
func TestManyParts(t *testing.T) {
	_, ref := newParts(t, "v1")
	for size := range int64(5) { // it is known before, or when the next part would be one too many
		file := filepath.Join(t.TempDir(), "app.tar")
		err := pullIntoParts(t, file, ref, size+1, new(failpoints))
		clienttest.WantError(t, err, fmt.Sprintf("parts of %d B would be more than 999; make them larger", size+1))
		if left := clienttest.Must(filepath.Glob(file + "*")); !slices.Equal(left, []string{file + partial}) {
			t.Errorf("left over: %q", left)
		}
	}
}

// TestPartsEnd: reading the checksums ends with its context.
func TestPartsEnd(t *testing.T) {
	file, _ := newParts(t, "v1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Place{Archive: true, Path: file}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// FuzzSums: any text is refused, or names all parts, each with a checksum.
func FuzzSums(f *testing.F) {
	f.Add([]byte(strings.Repeat("0", 64) + "  app.tar.001\n" + strings.Repeat("1", 64) + " *app.tar.002\r\n"))
	f.Add(thousandSums())
	f.Fuzz(func(t *testing.T, data []byte) {
		sums, err := parseSums(data, "app.tar")
		if err == nil && (len(sums) == 0 || len(sums) > maxParts || slices.ContainsFunc(sums, func(sum string) bool { return len(sum) != 64 })) {
			t.Errorf("%q", sums)
		}
	})
}
