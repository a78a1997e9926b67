//go:build unix

package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes files and directories: a name that ends in / is a directory, one with -> a link.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range names {
		name, target, isLink := strings.Cut(entry, "->")
		path := filepath.Join(root, name)
		switch {
		case isLink:
			err = os.Symlink(strings.ReplaceAll(target, "ROOT", root), path)
		case strings.HasSuffix(name, "/"):
			err = os.Mkdir(path, 0o755)
		default:
			err = os.WriteFile(path, []byte("x"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCheckFile(t *testing.T) {
	for _, test := range []struct {
		chmod         map[string]os.FileMode
		path          string
		wrong, secret string // what CheckFile says, and CheckSecret when it says something else
	}{
		{nil, "d/f", "", ""},
		{map[string]os.FileMode{"d/f": 0o644}, "d/f", "", "ROOT/d/f: can be read by its group or others; chmod go-r ROOT/d/f"},
		{map[string]os.FileMode{"d/f": 0o640}, "d/f", "", "ROOT/d/f: can be read by its group or others; chmod go-r ROOT/d/f"},
		{map[string]os.FileMode{"d/f": 0o620}, "d/f", "ROOT/d/f: can be written by its group or others; chmod go-w ROOT/d/f", ""},
		{map[string]os.FileMode{"d/f": 0o602}, "link", "ROOT/d/f: can be written by its group or others; chmod go-w ROOT/d/f", ""},
		{map[string]os.FileMode{"d/f": 0o666}, "d/f", "ROOT/d/f: can be written by its group or others; chmod go-w ROOT/d/f",
			"ROOT/d/f: can be read and written by its group or others; chmod go-rw ROOT/d/f"},
		{map[string]os.FileMode{"d": 0o777}, "d/f", "ROOT/d: can be written by its group or others; chmod go-w ROOT/d", ""},
		{map[string]os.FileMode{"d": 0o770}, "d/f", "ROOT/d: can be written by its group or others; chmod go-w ROOT/d", ""},
		{map[string]os.FileMode{"d": 0o777}, "link", "ROOT/d: can be written by its group or others; chmod go-w ROOT/d", ""},
		{map[string]os.FileMode{"d": 0o777}, "e/up", "ROOT/d: can be written by its group or others; chmod go-w ROOT/d", ""},
		{map[string]os.FileMode{"d": 0o777 | os.ModeSticky}, "d/f", "", ""},
		{map[string]os.FileMode{"e": 0o777}, "e/up", "ROOT/e: can be written by its group or others; chmod go-w ROOT/e", ""},
		{map[string]os.FileMode{"e": 0o777}, "e/../d/f", "ROOT/e: can be written by its group or others; chmod go-w ROOT/e", ""},
		{map[string]os.FileMode{"e": 0o777}, "e/deep/f", "ROOT/e: can be written by its group or others; chmod go-w ROOT/e", ""},
		{map[string]os.FileMode{"e": 0o777}, "link", "", ""},
		{map[string]os.FileMode{"a b": 0o602}, "a b", "ROOT/a b: can be written by its group or others; chmod go-w 'ROOT/a b'", ""},
		{nil, "absolute", "", ""},
		{nil, "dirlink/../f", "", ""}, // in e, and not in the root, where there is no f
		{nil, "d", "ROOT/d: is not a regular file; name a file", ""},
		{nil, "d/f/x", "ROOT/d/f: is not a directory; name one", ""},
	} {
		root := tree(t, "d/", "d/f", "e/", "e/deep/", "e/deep/f", "e/f", "link->d/f", "absolute->ROOT/link", "e/up->../d/f", "dirlink->e/deep", "a b")
		for name, mode := range test.chmod {
			if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		if test.secret == "" {
			test.secret = test.wrong
		}
		path := root + "/" + test.path
		wantFileError(t, CheckFile(path), strings.ReplaceAll(test.wrong, "ROOT", root))
		wantFileError(t, CheckSecret(path), strings.ReplaceAll(test.secret, "ROOT", root))
		t.Chdir(root)
		wantFileError(t, CheckFile(test.path), strings.ReplaceAll(test.wrong, "ROOT", root))
	}
}

func wantFileError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (!errors.As(err, new(*Error)) || err.Error() != want) {
		t.Errorf("has  %v\nwant %s", err, want)
	}
}

// TestCheckOwner: what belongs to another user is refused, links too: that user may have them lead elsewhere tomorrow.
func TestCheckOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	for owned, want := range map[string]string{
		"d/f":  "ROOT/d/f: belongs to user 65533; chown root ROOT/d/f",
		"d":    "ROOT/d: belongs to user 65533; chown root ROOT/d",
		"link": "ROOT/link: belongs to user 65533; chown -h root ROOT/link",
		"e":    "",
	} {
		root := tree(t, "d/", "d/f", "e/", "link->d/f")
		if err := os.Lchown(filepath.Join(root, owned), 65533, 0); err != nil {
			t.Fatal(err)
		}
		wantFileError(t, CheckFile(filepath.Join(root, "link")), strings.ReplaceAll(want, "ROOT", root))
	}
}

func TestCheckFileUnreachable(t *testing.T) {
	root := tree(t, "loop->loop", "nowhere->none")
	for name, want := range map[string]error{"none": fs.ErrNotExist, "nowhere": fs.ErrNotExist, "none/x": fs.ErrNotExist} {
		if err := CheckFile(filepath.Join(root, name)); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckFile(filepath.Join(root, "loop")); err == nil || !strings.Contains(err.Error(), "too many symbolic links") {
		t.Errorf("%v", err)
	}
}

func TestLoad(t *testing.T) {
	certs := "certificate = \"ROOT/pem\"\nclient_ca = \"ROOT/ca\"\n"
	files := "[credentials]\ndocker_config = [\"/none\", \"ROOT/docker\"]\n"
	kubelet := "[credentials]\nkubelet_credential_providers = \"ROOT/kubelet\"\nkubelet_credential_provider_dir = \"ROOT\"\ndocker_config = []\n"
	for _, test := range []struct {
		text  string
		chmod map[string]os.FileMode
		want  string
	}{
		{minimal + certs + files, nil, ""},
		{minimal + certs + files, map[string]os.FileMode{"docker": 0o644, "ca": 0o644, "c.toml": 0o644}, ""},
		{minimal + certs + files, map[string]os.FileMode{"c.toml": 0o664}, "ROOT/c.toml: can be written by its group or others; chmod go-w ROOT/c.toml"},
		{minimal + certs + files, map[string]os.FileMode{"pem": 0o640, "ca": 0o666, "docker": 0o602},
			"C:4:15: gateway.certificate: ROOT/pem can be read by its group or others; chmod go-r ROOT/pem; " +
				"C:5:13: gateway.client_ca: ROOT/ca can be written by its group or others; chmod go-w ROOT/ca; " +
				"C:7:27: credentials.docker_config: ROOT/docker can be written by its group or others; chmod go-w ROOT/docker"},
		{strings.Replace(minimal, "node", "pod", 1) + certs + "x = 1\n", map[string]os.FileMode{"docker": 0o602, "pem": 0o604},
			"C:4:15: gateway.certificate: ROOT/pem can be read by its group or others; chmod go-r ROOT/pem; " +
				"C:6:1: unknown key gateway.x; remove it; nestctl config default lists the keys"},
		{minimal + "client_ca = \"ROOT/ca\"\ncertificate = \"ROOT/none\"\n[credentials]\ndocker_config = []\n", nil,
			"C:5:15: gateway.certificate: ROOT/none does not exist; nestctl install makes it"},
		{minimal + certs + "[credentials]\ndocker_config = [\"ROOT/dir\"]\n", nil, ""},
		{minimal + certs + "[credentials]\ndocker_config = [\"ROOT/dir\"]\n", map[string]os.FileMode{"dir/config.json": 0o602},
			"C:7:18: credentials.docker_config: ROOT/dir/config.json can be written by its group or others; chmod go-w ROOT/dir/config.json"},
		{minimal + certs + kubelet, nil, ""},
		{minimal + certs + kubelet, map[string]os.FileMode{"kubelet": 0o602},
			"C:7:32: credentials.kubelet_credential_providers: ROOT/kubelet can be written by its group or others; chmod go-w ROOT/kubelet"},
		{minimal + certs + strings.Replace(kubelet, "ROOT/kubelet", "ROOT/none", 1), nil,
			"C:7:32: credentials.kubelet_credential_providers: ROOT/none does not exist; name the file that the kubelet has"},
		{minimal + "client_ca = \"ROOT/ca\"\ncertificate = 7\n[credentials]\ndocker_config = []\n", nil,
			"C:5:15: gateway.certificate is an integer; must be a string"},
	} {
		root := tree(t, "c.toml", "pem", "ca", "docker", "kubelet", "dir/", "dir/config.json")
		path := filepath.Join(root, "c.toml")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(test.text, "ROOT", root)), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, mode := range test.chmod {
			if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Load(path)
		wantFileError(t, err, strings.NewReplacer("ROOT", root, "C:", path+":").Replace(test.want))
	}
	syntax := filepath.Join(tree(t, "x"), "x")
	wantFileError(t, func() error { _, err := Load(syntax); return err }(), syntax+":1:1: syntax error; expected '=' after key")
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
