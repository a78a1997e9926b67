//go:build unix

package config

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// served makes the files of a front.
func served(t *testing.T) (root string) {
	t.Helper()
	root = tree(t, "c.toml", "pem", "key", "other")
	certificates, err := NewCertificates("127.0.0.1:0", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, text := range map[string]string{"pem": string(certificates.Gateway), "key": key + "\n", "other": " \t\r\n" + key + "\r\n\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestLoadServe: flags win over the file, and each is called by its name where it is wrong.
func TestLoadServe(t *testing.T) {
	type set = func(*Serve)
	for _, test := range []struct {
		text  string
		flags map[string]set
		want  string
	}{
		{"", map[string]set{"certificate": func(s *Serve) { s.Certificate = "pem" }, "registry": func(s *Serve) { s.Registries = []string{"a=b"} }}, ""},
		{"", nil, "--registry is missing; name what to serve, such as bundles.example.com=registry.example.com; --certificate is missing; " + certificateFix},
		{"", map[string]set{"certificate": func(s *Serve) { s.Certificate = "pem" }, "registry": func(s *Serve) { s.Registries = []string{"a=b"} }, "allow": func(s *Serve) { s.Allow = []string{"c/x"} }},
			`--allow has "c/x" in it; its registry must be one of those behind --registry`},
		{front, map[string]set{"certificate": func(s *Serve) { s.Certificate = "none" }}, "--certificate: ROOT/none does not exist; " + certificateFix},
		{front, map[string]set{"certificate": func(s *Serve) { s.Certificate = "ROOT/pem" }, "seal-key": func(s *Serve) { s.SealKeys = []string{"key", "pem"} }},
			"--seal-key: ROOT/pem is not 32 bytes in base64; " + sealKeyFix},
		{front + "grace = 7\nlisten = \"x\"\n", map[string]set{"certificate": func(s *Serve) { s.Certificate = "pem" }, "listen": func(s *Serve) { s.Listen = ":1" }},
			"ROOT/c.toml:4:9: serve.grace is an integer; must be a duration such as \"30s\""},
		{front + "listen = \":1\"\n", map[string]set{"certificate": func(s *Serve) { s.Certificate = "pem" }, "listen": func(s *Serve) { s.Listen = "x" }},
			`--listen is "x"; must be host:port or :port`},
		{minimal, nil, "ROOT/c.toml:1:1: serve.registries is missing; name what to serve, such as bundles.example.com=registry.example.com; ROOT/c.toml:1:1: serve.certificate is missing; " + certificateFix},
	} {
		root := served(t)
		t.Chdir(root)
		path := ""
		if test.text != "" {
			path = filepath.Join(root, "c.toml")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		flags := Flags{Serve: Default().Serve, Given: func(name string) bool { return test.flags[name] != nil }}
		for _, set := range test.flags {
			set(&flags.Serve)
		}
		flags.Serve.Certificate = strings.Replace(flags.Serve.Certificate, "ROOT", root, 1)
		c, err := LoadServe(path, flags)
		wantFileError(t, err, strings.ReplaceAll(test.want, "ROOT", root))
		if err == nil && (c.Serve.Certificate != filepath.Join(root, "pem") || c.Serve.Listen != ":443") {
			t.Errorf("%+v", c.Serve)
		}
	}
}

// TestServeFiles: what others could change is refused, as is what cannot be used, and no error shows a key.
func TestServeFiles(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("secret", 5) + "se"))
	for _, test := range []struct {
		spoil func(root string) error
		want  string
	}{
		{func(string) error { return nil }, ""},
		{func(root string) error { return os.Chmod(root+"/pem", 0o660) }, "C:2:15: serve.certificate: ROOT/pem can be written by its group or others; chmod go-w ROOT/pem"},
		{func(root string) error { return os.WriteFile(root+"/pem", []byte("x"), 0o600) },
			"C:2:15: serve.certificate: ROOT/pem cannot be used: tls: failed to find any PEM data in certificate input; " + certificateFix},
		{func(root string) error { return os.Chmod(root+"/other", 0o602) }, "C:6:1: serve.seal_keys: ROOT/other can be written by its group or others; chmod go-w ROOT/other"},
		{func(root string) error { return os.Remove(root + "/other") }, "C:6:1: serve.seal_keys: ROOT/other does not exist; " + sealKeyFix},
		{func(root string) error { return os.WriteFile(root+"/other", []byte(key[:43]), 0o600) }, "KEY"},
		{func(root string) error { return os.WriteFile(root+"/other", []byte(key+key), 0o600) }, "KEY"},
		{func(root string) error { return os.WriteFile(root+"/other", []byte(key[:20]+"\n"+key[20:]), 0o600) }, "KEY"},
		{func(root string) error { return os.WriteFile(root+"/other", []byte(key[:20]+" "+key[20:]), 0o600) }, "KEY"},
		{func(root string) error { return os.WriteFile(root+"/other", []byte(key+"\nx"), 0o600) }, "KEY"},
		{func(root string) error { return os.WriteFile(root+"/other", nil, 0o600) }, "KEY"},
		{func(root string) error {
			return os.WriteFile(root+"/other", []byte(strings.Repeat("secret", 5)+"se"), 0o600)
		}, "KEY"},
		{func(root string) error {
			return os.WriteFile(root+"/other", []byte(strings.Repeat(" ", 1<<20)+key), 0o600)
		}, "KEY"},
		{func(root string) error { return os.Chmod(root+"/hosts", 0o777) }, "C:7:13: serve.hosts_dir: ROOT/hosts can be written by its group or others; chmod go-w ROOT/hosts"},
	} {
		root := served(t)
		path := filepath.Join(root, "c.toml")
		text := "[serve]\ncertificate = \"ROOT/pem\"\nregistries = [\"a.test=reg.test\"]\nseal_keys = [\n\"ROOT/key\",\n\"ROOT/other\"]\nhosts_dir = \"ROOT/hosts\"\n"
		err := errors.Join(os.WriteFile(path, []byte(strings.ReplaceAll(text, "ROOT", root)), 0o600), os.Mkdir(root+"/hosts", 0o755), test.spoil(root))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(test.want, "KEY", "C:6:1: serve.seal_keys: ROOT/other is not 32 bytes in base64; "+sealKeyFix, 1)
		want = strings.NewReplacer("ROOT", root, "C:", path+":").Replace(want)
		c, err := Load(path)
		wantFileError(t, err, want)
		if err != nil {
			continue
		}
		keys, err := c.Serve.sealKeys()
		if err != nil || len(keys) != 2 || !slices.Equal(keys[0], make([]byte, 32)) || !slices.Equal(keys[1], keys[0]) {
			t.Errorf("%v, %v", keys, err)
		}
	}
}
