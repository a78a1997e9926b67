package registriesconf

import (
	"reflect"
	"strings"
	"testing"
)

// parse parses files, by their paths.
func parse(t *testing.T, files ...[2]string) []File {
	t.Helper()
	var all []File
	for _, f := range files {
		file, err := Parse(f[0], []byte(f[1]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, file)
	}
	return all
}

const table = "[[registry]]\n"

// TestFind: which table decides about a registry, as in containers/image.
func TestFind(t *testing.T) {
	t.Parallel()
	files := parse(t,
		[2]string{"main", table + `location = "reg.example.com"` + "\n" + table + `prefix = "reg.example.com"` + "\nlocation = \"second.example.com\"\n" + table + `location = "both.example.com"`},
		[2]string{"a.conf", table + `prefix = "both.example.com/"` + "\nlocation = \"a.example.com\"\n" + table + `prefix = "*.wild.example.com"` + "\n" + table + `location = "reg.example.com/team"`},
		[2]string{"b.conf", table + `prefix = "both.example.com"` + "\nlocation = \"b.example.com/\"\n" + table + `location = "port.example.com:5000"` + "\n" + table + `location = "port.example.com"`},
		[2]string{"c.conf", table + `prefix = "*.tie.example"`},
	)
	c := Merge(files)
	for registry, want := range map[string]string{
		"reg.example.com":         "main reg.example.com reg.example.com", // the first within a file
		"reg.example.com:5000":    "main reg.example.com reg.example.com:5000",
		"reg.example.com.evil":    "",
		"reg.example.co":          "",
		"xreg.example.com":        "",
		"both.example.com":        "b.conf both.example.com b.example.com", // the last file
		"a.wild.example.com":      "a.conf *.wild.example.com a.wild.example.com",
		"a.b.wild.example.com":    "a.conf *.wild.example.com a.b.wild.example.com",
		"a.wild.example.com:80":   "a.conf *.wild.example.com a.wild.example.com:80",
		"wild.example.com":        "",
		"a.wild.example.com.evil": "",
		"port.example.com":        "b.conf port.example.com port.example.com",
		"port.example.com:5000":   "b.conf port.example.com:5000 port.example.com:5000",
		"port.example.com:50001":  "b.conf port.example.com port.example.com:50001",
	} {
		got := ""
		if r, found := c.Find(registry); found {
			of, err := r.Of(registry)
			if err != nil {
				t.Error(err)
			}
			got = r.File + " " + r.Prefix + " " + of.Location
		}
		if got != want {
			t.Errorf("%s: %q, want %q", registry, got, want)
		}
	}
	if below := c.Below("reg.example.com"); len(below) != 1 || below[0].Prefix != "reg.example.com/team" {
		t.Errorf("below: %+v", below)
	}
}

// TestThrough: another mirror comes before those of a table, whose limits stay theirs.
func TestThrough(t *testing.T) {
	t.Parallel()
	c := Merge(parse(t, [2]string{"f", table + `prefix = "*.example.com"
mirror-by-digest-only = true
[[registry.mirror]]
location = "one.example.net/p/"
insecure = true
`}))
	r, _ := c.Find("reg.example.com")
	r, err := r.Of("reg.example.com")
	if err != nil {
		t.Fatal(err)
	}
	text, err := Config{r.Through("127.0.0.1:7117/reg.example.com")}.Render()
	if err != nil {
		t.Fatal(err)
	}
	want := Registry{Prefix: "reg.example.com", Endpoint: Endpoint{Location: "reg.example.com"}, File: "g", Mirrors: []Endpoint{
		{Location: "127.0.0.1:7117/reg.example.com"}, {Location: "one.example.net/p", Insecure: true, PullFrom: "digest-only"},
	}}
	if got := parse(t, [2]string{"g", string(text)}); !reflect.DeepEqual(got[0].Registries, []Registry{want}) {
		t.Errorf("%s%+v", text, got)
	}
	if len(r.Mirrors) != 1 || r.Mirrors[0].PullFrom != "" {
		t.Errorf("the table was changed: %+v", r)
	}
}

// TestRefused: what containers/image refuses is an error that names the file.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"[[registry", table + "location = 1", table, table + `prefix = "reg.example.com"`, table + `location = "https://reg.example.com"`,
		table + `prefix = "*.example.com/a"`, table + `location = "r"` + "\n[[registry.mirror]]\n", table + `location = "r"` + "\npull-from-mirror = \"all\"",
		table + `location = "r"` + "\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"all\"",
		table + `location = "r"` + "\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"\\u001b[2J\"",
		"unqualified-search-registries = \"r\"", `unqualified-search-registries = ["https://r"]`, `short-name-mode = "strict"`, "short-name-mode = 1",
		"[aliases]\n\"a:v1\" = \"r.test/a\"", "[aliases]\n\"r.test/a\" = \"r.test/a\"", "[aliases]\na = \"b/a\"", "[aliases]\na = \"r.test/a:v1\"", "[aliases]\na = \"\\u001b[2J\"",
		"credential-helpers = \"h\"",
		"[registries.insecure]\nregistries = [\"r\"]",
		table + "prefix = \"a\"\nlocation = \"r\"\ninsecure = true\n" + table + "prefix = \"b\"\nlocation = \"r/\"\n",
		table + "location = \"r\"\nblocked = true\n" + table + "prefix = \"b\"\nlocation = \"r\"\n",
	} {
		_, err := Parse("/etc/f.conf", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), "/etc/f.conf") || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "; ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	parse(t, [2]string{"f", `unqualified-search-registries = ["r.test", "r.test:5000/a/"]
short-name-mode = "enforcing"
credential-helpers = ["containers-auth.json", "h"]
[aliases]
"a" = "r.test/a"
"a/b" = "localhost/b"
"gone" = ""
`})
	r, _ := Merge(parse(t, [2]string{"f", table + `prefix = "reg"` + "\nlocation = \"Not A Host\""})).Find("reg")
	if _, err := r.Of("reg"); err == nil || !strings.HasPrefix(err.Error(), "f: ") || !strings.HasSuffix(err.Error(), "; correct it, or give reg a table of its own") {
		t.Errorf("a bad location: %v", err)
	}
}

// memory is a disk.
type memory map[string]string

func (m memory) Names(dir string) (names []string, err error) {
	for path := range m {
		if name, ok := strings.CutPrefix(path, dir+"/"); ok && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names, nil
}

func (m memory) Data(path string) ([]byte, error) {
	if text, ok := m[path]; ok {
		return []byte(text), nil
	}
	return nil, nil
}

// TestRead: the files are those that containers/image reads, in its order.
func TestRead(t *testing.T) {
	t.Parallel()
	disk := memory{
		"/usr/share/containers/registries.conf":              "bad",
		"/etc/containers/registries.conf":                    "",
		"/usr/share/containers/registries.conf.d/00-a.conf":  "bad",
		"/usr/share/containers/registries.conf.d/50-v.conf":  "",
		"/etc/containers/registries.conf.d/00-a.conf":        "",
		"/etc/containers/registries.conf.d/c.conf":           "bad",
		"/etc/containers/registries.rootful.conf.d/c.conf":   "",
		"/etc/containers/registries.rootful.conf.d/a.conf":   "",
		"/etc/containers/registries.rootless.conf.d/a.conf":  "bad",
		"/etc/containers/registries.conf.d/b.conf":           "",
		"/etc/containers/registries.conf.d/zzz-nested.conf":  "bad",
		"/etc/containers/registries.conf.d/zzzz.conf":        "",
		"/etc/containers/registries.conf.d/notes.txt":        "bad",
		"/etc/containers/registries.conf.d/deeper/more.conf": "bad",
	}
	files, err := Read(disk, DropIn("zzz-nested.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range With(files, File{Path: DropIn("zzz-nested.conf")}) {
		paths = append(paths, f.Path)
	}
	const etc, rootful = "/etc/containers/registries.conf", "/etc/containers/registries.rootful.conf.d/"
	want := []string{etc, etc + ".d/00-a.conf", "/usr/share/containers/registries.conf.d/50-v.conf", rootful + "a.conf", etc + ".d/b.conf", rootful + "c.conf", etc + ".d/zzz-nested.conf", etc + ".d/zzzz.conf"}
	if !reflect.DeepEqual(paths, want) {
		t.Errorf("%q", paths)
	}
	delete(disk, etc)
	if _, err := Read(disk, ""); err == nil || !strings.HasPrefix(err.Error(), "/usr/share/containers/registries.conf:") {
		t.Errorf("the vendor's: %v", err)
	}
}
