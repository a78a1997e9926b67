package login

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/remotes/auth"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// inConfig is a file of Docker's with a text; none when that is empty.
func inConfig(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, "docker"))
	file := filepath.Join(dir, "docker", "config.json")
	if text != "" {
		noError(t, os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
	}
	return file
}

func noError(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func keyOf(t *testing.T, s string) Key {
	t.Helper()
	k, _, err := Parse(s, "")
	noError(t, err)
	return k
}

func login(t *testing.T, key string) error {
	t.Helper()
	_, _, err := keyOf(t, key).Store(t.Context(), auth.UserCredential("user", "password of "+key, ""))
	return err
}

// found is the password that a look-up finds for a repository.
func found(t *testing.T, repository string) string {
	t.Helper()
	r, err := auth.ParseRepository(repository)
	noError(t, err)
	c, err := auth.NewStores(auth.StoresFromEnvironment()).Lookup(t.Context(), r)
	noError(t, err)
	return string(c.Password)
}

// TestKeys: a key is written as docker writes it, and found again by the look-up, for what it is for and nothing else.
func TestKeys(t *testing.T) {
	for s, test := range map[string]struct{ key, finds, not string }{
		"reg.test":                     {"reg.test", "reg.test/org/app", "reg.test:5000/org/app"},
		"reg.test:5000":                {"reg.test:5000", "reg.test:5000/a", "reg.test/a"},
		"https://reg.test/":            {"reg.test", "reg.test/a", "other.test/a"},
		"localhost":                    {"localhost", "localhost/a", "localhost:5000/a"},
		"[::1]:5000/org":               {"[::1]:5000/org", "[::1]:5000/org/app", "[::1]:5000/other"},
		"reg.test/org/app":             {"reg.test/org/app", "reg.test/org/app/web", "reg.test/org/apps"},
		"docker.io":                    {hub, "docker.io/library/a", "reg.test/a"},
		"https://index.docker.io/v1/":  {hub, "docker.io/library/a", "reg.test/a"},
		"reg.test/v2":                  {"reg.test/v2", "reg.test/v2/app", "other.test/v2"},
		"registry-1.docker.io/library": {"docker.io/library", "docker.io/library/a", "docker.io/other/a"},
	} {
		t.Run(strings.ReplaceAll(s, "/", "_"), func(t *testing.T) {
			inConfig(t, "")
			if got := keyOf(t, s).String(); got != test.key {
				t.Errorf("key %q, want %q", got, test.key)
			}
			noError(t, login(t, s))
			if found(t, test.finds) != "password of "+s || found(t, test.not) != "" {
				t.Errorf("found %q for %s, %q for %s", found(t, test.finds), test.finds, found(t, test.not), test.not)
			}
			had, warning, err := keyOf(t, s).Erase(t.Context())
			if !had || warning != "" || err != nil || found(t, test.finds) != "" {
				t.Errorf("%t, %q, %v", had, warning, err)
			}
		})
	}
	for _, s := range []string{"", "org/app", "reg.test/Org", "reg.test/a:v1", "reg.test/../a", "reg.test/a b", "reg.test\n", "user@reg.test", "reg.test?x", strings.Repeat("a", 300) + ".test"} {
		if k, _, err := Parse(s, ""); err == nil {
			t.Errorf("%q is %q", s, k)
		}
	}
}

// TestFile: all else in the file stays, in its order; it is its owner's alone; and a link stays a link.
func TestFile(t *testing.T) {
	const before = `{"zzz":1.50,"auths":{"other.test":{"auth":"YTpi","email":"a@b"},"https://reg.test/v1/":{"auth":"old"}},"aaa":{"x":[1,2],"<":"&"},"HttpHeaders":{"B":"b","A":"a"}}`
	file := inConfig(t, before)
	link := file + ".real"
	noError(t, os.Rename(file, link), os.Symlink("config.json.real", file))
	noError(t, login(t, "reg.test"))
	text, err := os.ReadFile(link)
	noError(t, err)
	want := "{\n\t\"zzz\": 1.50,\n\t\"auths\": {\n\t\t\"other.test\": {\n\t\t\t\"auth\": \"YTpi\",\n\t\t\t\"email\": \"a@b\"\n\t\t},\n\t\t\"reg.test\": {\n\t\t\t\"auth\": \"dXNlcjpwYXNzd29yZCBvZiByZWcudGVzdA==\"\n\t\t}\n\t},\n" +
		"\t\"aaa\": {\n\t\t\"x\": [\n\t\t\t1,\n\t\t\t2\n\t\t],\n\t\t\"<\": \"&\"\n\t},\n\t\"HttpHeaders\": {\n\t\t\"B\": \"b\",\n\t\t\"A\": \"a\"\n\t}\n}"
	if string(text) != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	info, err := os.Stat(link)
	if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("%v, error %v", info.Mode(), err)
	}
	if info, err = os.Lstat(file); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v, error %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 2 {
		t.Errorf("%v, error %v", left, err)
	}
	had, _, err := keyOf(t, "none.test").Erase(t.Context())
	if now, _ := os.ReadFile(link); had || err != nil || string(now) != want {
		t.Errorf("%t, %v: %s", had, err, now)
	}
}

// TestOtherKeysStay: a key of a repository that has the API's name is no spelling of the registry's.
func TestOtherKeysStay(t *testing.T) {
	inConfig(t, "")
	noError(t, login(t, "reg.test/v2"), login(t, "reg.test"))
	if got := found(t, "reg.test/v2/app"); got != "password of reg.test/v2" {
		t.Errorf("%q", got)
	}
	if _, _, err := keyOf(t, "reg.test").Erase(t.Context()); err != nil || found(t, "reg.test/v2/app") != "password of reg.test/v2" {
		t.Errorf("error %v", err)
	}
}

// TestKeysTwice: of keys that a file has twice the last counts, when it is written, too.
func TestKeysTwice(t *testing.T) {
	inConfig(t, `{"auths":{"reg.test":{"auth":"YTpi"}},"auths":{"reg.test":{"auth":"YTpi"},"reg.test":{"auth":"YTpj"}}}`)
	noError(t, login(t, "reg.test"))
	if got := found(t, "reg.test/app"); got != "password of reg.test" {
		t.Errorf("%q", got)
	}
}

// TestDanglingLink: what a link is to lead to is made, with its directory's rights for the owner alone.
func TestDanglingLink(t *testing.T) {
	file := inConfig(t, "{}")
	noError(t, os.Remove(file), os.Symlink("far/away.json", file))
	noError(t, login(t, "reg.test"))
	if info, err := os.Stat(filepath.Join(filepath.Dir(file), "far")); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("%v", err)
	}
	if found(t, "reg.test/a") == "" {
		t.Error("not found")
	}
}

// TestSpoiltFile: a file that cannot be read is left as it is.
func TestSpoiltFile(t *testing.T) {
	for _, text := range []string{`{`, `[]`, `{"auths":[]}`, `{"auths":"x"}`, `{"credHelpers":[]}`, `{"credsStore":1}`, `{"credsStore":"../evil"}`, `{"credsStore":"absent-helper"}`, `{} {}`, "{\"a\":\"" + strings.Repeat("a", maxFile) + "\"}"} {
		file := inConfig(t, text)
		if err := login(t, "reg.test"); err == nil || strings.Contains(err.Error(), "password of") {
			t.Errorf("%.40s: %v", text, err)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != text {
			t.Errorf("%.40s has become %.40s, error %v", text, now, err)
		}
	}
	file := inConfig(t, "{}")
	noError(t, os.Remove(file), os.Mkdir(file, 0o700))
	if err := login(t, "reg.test"); err == nil {
		t.Error("a directory")
	}
}

// TestTogether: of many logins at once none is lost.
func TestTogether(t *testing.T) {
	file := inConfig(t, `{"auths":{}}`)
	const logins = 30
	var group sync.WaitGroup
	for i := range logins {
		group.Go(func() {
			if err := login(t, fmt.Sprintf("reg%d.test/org", i)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	var c struct{ Auths map[string]any }
	data, err := os.ReadFile(file)
	noError(t, err, json.Unmarshal(data, &c))
	if len(c.Auths) != logins {
		t.Errorf("%d entries", len(c.Auths))
	}
}

// TestChangedMeanwhile: docker takes no lock; what it writes between reading and renaming is not lost.
func TestChangedMeanwhile(t *testing.T) {
	file := inConfig(t, `{"auths":{}}`)
	const other = `{"auths":{"docker.test":{}}}`
	err := change(file, func(o *object) error {
		o.set("x", json.RawMessage("1"))
		return os.WriteFile(file, []byte(other), 0o600)
	})
	if now, _ := os.ReadFile(file); err == nil || string(now) != other {
		t.Errorf("%v: %s", err, now)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("%v, error %v", left, err)
	}
}

// TestIdentityToken: a user name of <token> stands for an identity token, as in docker.
func TestIdentityToken(t *testing.T) {
	inConfig(t, "")
	_, _, err := keyOf(t, "reg.test").Store(t.Context(), auth.UserCredential("<token>", "refresh", ""))
	noError(t, err)
	r, err := auth.ParseRepository("reg.test/a")
	noError(t, err)
	if c, err := auth.NewStores(auth.StoresFromEnvironment()).Lookup(t.Context(), r); err != nil || c.IdentityToken != "refresh" {
		t.Errorf("%v", err)
	}
}

// TestAsk: of input that is no password docker could keep, none is taken, and none is shown.
func TestAsk(t *testing.T) {
	for _, test := range []struct {
		user, input string
		want        string // "": an error
	}{
		{"user", "secret\n", "secret"},
		{"user", "secret\r\n", "secret"},
		{"user", " sec:ret ", " sec:ret "},
		{"user", "\n", ""},
		{"user", "secret\nsecret\n", ""},
		{"user", "secret\x00", ""},
		{"", "secret", ""},
		{"us:er", "secret", ""},
		{"us\ner", "secret", ""},
		{"user", strings.Repeat("secret", 20000), ""},
	} {
		c, err := Ask(strings.NewReader(test.input), nil, test.user, true)
		if string(c.Password) != test.want || (err == nil) != (test.want != "") || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q, %q: %v", test.user, test.input, err)
		}
	}
	if _, err := Ask(strings.NewReader("secret"), nil, "user", false); err == nil {
		t.Error("a password without a terminal")
	}
}

// FuzzObject: what is read and written again says the same, in the same order.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"a":1,"a":{"b":[]},"\u003c":"\ud800"}`, `[]`, "{\"a\":1}x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseObject(data)
		if err != nil {
			return
		}
		text, err := o.text()
		noError(t, err)
		again, err := parseObject(text)
		noError(t, err)
		keys := func(o object) (all []string) {
			for _, m := range o {
				all = append(all, m.key)
			}
			return all
		}
		if !slices.Equal(keys(o), keys(again)) {
			t.Errorf("%q has become %q", data, text)
		}
	})
}

// TestSystemStore: the system's helper keeps what a file without credentials and helpers would keep, and is named in it.
func TestSystemStore(t *testing.T) {
	for text, want := range map[string]string{
		``:                             "wincred",
		`{"currentContext":"x"}`:       "wincred",
		`{"auths":{}}`:                 "",
		`{"credHelpers":{"x":"y"}}`:    "",
		`{"credsStore":"desktop"}`:     "desktop",
		`{"auths":{"x":{"auth":"y"}}}`: "",
	} {
		o, err := parseObject([]byte(text))
		noError(t, err)
		k := keyOf(t, "reg.test")
		c, err := configuredFor(o, k, "wincred")
		if err != nil || string(c.helper) != want {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
		noError(t, k.write(&o, c, auth.UserCredential("user", "password", "")))
		var named string
		noError(t, o.get("credsStore", &named))
		data, err := o.MarshalJSON()
		if err != nil || named != want || strings.Contains(string(data), `"auth":"dXNl`) != (want == "") {
			t.Errorf("%s: %s, %v", text, data, err)
		}
	}
	file := inConfig(t, "")
	if got := systemStore(file); got != "" {
		t.Errorf("here %q", got)
	}
}
