//go:build unix

package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// made makes a directory with a file in it and one of everybody's with the
// sticky bit, which has a directory and a file of ours.
func made(t *testing.T) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"d", "sticky", "sticky/ours"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"d/f", "sticky/f", "sticky/ours/f"} {
		if err := os.WriteFile(filepath.Join(root, file), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "sticky"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestSticky: in a directory with the sticky bit others cannot replace what is
// ours, and can make what is missing.
func TestSticky(t *testing.T) {
	const writes = "ROOT/sticky: can be written by its group or others"
	for _, test := range []struct {
		judge func(string) error
		path  string
		want  string // "absent", or an *Error that begins so
	}{
		{File, "sticky/f", ""},
		{File, "sticky/ours/f", ""},
		{Dir, "sticky/ours", ""},
		{Dir, "sticky", writes + "; chmod go-w ROOT/sticky"},
		{File, "sticky/none", writes + ", so that others could make none in it; chmod go-w ROOT/sticky"},
		{Dir, "sticky/none", writes + ", so that others could make none in it; "},
		{File, "sticky/none/f", writes + ", so that others could make none in it; "},
		{Way, "sticky", ""},
		{Way, "sticky/none", "absent"},
		{Way, "sticky/f", "ROOT/sticky/f: is not a directory; name one"},
		{File, "sticky/ours/none", "absent"},
		{File, "d/none", "absent"},
		{File, "d/none/f", "absent"},
		{Dir, "none", "absent"},
		{Dir, "d/f", "ROOT/d/f: is not a directory; name one"},
		{File, "d", "ROOT/d: is not a regular file; name a file"},
	} {
		root := made(t)
		err := test.judge(filepath.Join(root, test.path))
		var bad *Error
		switch want := strings.ReplaceAll(test.want, "ROOT", root); {
		case want == "" && err == nil, want == "absent" && errors.Is(err, fs.ErrNotExist) && !errors.As(err, &bad):
		case want != "" && errors.As(err, &bad) && strings.HasPrefix(err.Error(), want):
		default:
			t.Errorf("%s: %v, want %q", test.path, err, want)
		}
	}
}

// TestOpened: what was opened is judged, whatever its name leads to by then.
func TestOpened(t *testing.T) {
	path := filepath.Join(made(t), "d/f")
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Chmod(0o602); err != nil {
		t.Fatal(err)
	}
	if err := Opened(file); !errors.As(err, new(*Error)) {
		t.Errorf("opened and then everybody's: %v", err)
	}
	if _, err := ReadFile(path, 10); !errors.As(err, new(*Error)) {
		t.Errorf("everybody's: %v", err)
	}
	if err := errors.Join(file.Chmod(0o600), os.Chmod(filepath.Dir(path), 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path, 10); !errors.As(err, new(*Error)) {
		t.Errorf("in everybody's directory: %v", err)
	}
}

// TestReadFile gives one byte more than the most, so that a reader sees it.
func TestReadFile(t *testing.T) {
	path := filepath.Join(made(t), "d/f")
	for most, want := range map[int64]string{2: "tex", 4: "text", 9: "text"} {
		if data, err := ReadFile(path, most); err != nil || string(data) != want {
			t.Errorf("%d: %q, %v", most, data, err)
		}
	}
}

// TestOpenOwn: neither a link, nor what others may write, nor what is no file.
func TestOpenOwn(t *testing.T) {
	root := made(t)
	for path, spoil := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink("d/f", path) },
		"nowhere":   func(path string) error { return os.Symlink("d/made", path) },
		"everybody": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)) },
		"group":     func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o620)) },
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		path = filepath.Join(root, path)
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		if file, err := OpenOwn(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			t.Errorf("%s was opened", path)
			file.Close()
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "d/made")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made through a link: %v", err)
	}
	if file, err := OpenOwn(filepath.Join(root, "d"), os.O_RDONLY, 0); err == nil {
		t.Error("a directory was opened")
		file.Close()
	}
	file, err := OpenOwn(filepath.Join(root, "d/new"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
}

// owned is a file of a user.
type owned struct {
	fs.FileInfo
	user uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.user} }

// TestOwn: not another user's, whatever its mode.
func TestOwn(t *testing.T) {
	info, err := os.Stat(filepath.Join(made(t), "d/f"))
	if err != nil {
		t.Fatal(err)
	}
	if us := uint32(os.Geteuid()); !Own(owned{info, us}) || Own(owned{info, us + 1}) || Owned(owned{info, us + 1}) {
		t.Error("whose a file is does not matter")
	}
}

// TestServiceSecret: the group may read what root gives to a service, but nobody else, and nobody may write it.
func TestServiceSecret(t *testing.T) {
	info, err := os.Stat(filepath.Join(made(t), "d/f"))
	if err != nil {
		t.Fatal(err)
	}
	us := uint32(os.Geteuid())
	for _, test := range []struct {
		mode  fs.FileMode
		owner uint32
		ok    bool
	}{
		{0o400, us, true}, {0o600, us, true}, {0o440, us, false}, {0o604, us, false}, {0o620, us, false},
		{0o440, 0, us != 0}, {0o640, 0, us != 0}, {0o444, 0, false}, {0o460, 0, false},
	} {
		if e := givenRule.last("f", moded{owned{info, test.owner}, test.mode}); (e == nil) != test.ok {
			t.Errorf("%o of %d: %v", test.mode, test.owner, e)
		}
	}
}

type moded struct {
	fs.FileInfo
	mode fs.FileMode
}

func (m moded) Mode() fs.FileMode { return m.mode }
