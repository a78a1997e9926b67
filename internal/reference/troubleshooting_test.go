package reference_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nestedoci/nested/internal/reference"
)

var update = flag.Bool("update", false, "write docs/troubleshooting.md, docs/reference/errors.md and the schemas anew")

const root = "../.."

// skipped are files whose texts are elsewhere.
var skipped = []string{
	"internal/doctor/",   // in a table of its own
	"config/comments.go", // in docs/config.md
}

// programs are the directories of the packages that are in the programs.
var programs = sync.OnceValues(func() ([]string, error) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", root+"/cmd/...").Output()
	return strings.Fields(string(out)), err
})

// noErrors are texts that have the form of an error with a next step, and are none.
var noErrors = []string{
	`# With the gateway of nested in it, by "nestctl install"`, // a comment in a file
	"not in this one: …", // ends a finding
	"next: containerd's config_path must be … alone",
	"hosts.toml is read at each pull",
	"podman, buildah and skopeo read registries.conf at each pull",
	"nestctl wrote this", // a comment in a file
	"the certificates are good until …",
	"installed already",
	"application/x-www-form-urlencoded", // headers
	`<…?…>; rel="next"`,
	"run it on the node", // ends an error
}

func texts(t *testing.T) []reference.Text {
	t.Helper()
	dirs, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	all, err := reference.Texts(top, dirs, func(file string) bool {
		return slices.ContainsFunc(skipped, func(part string) bool { return strings.Contains(filepath.ToSlash(file), part) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(text reference.Text) bool {
		return slices.Contains(noErrors, text.Key()) || strings.HasPrefix(text.Says, "# ")
	})
}

// TestTroubleshooting: each text of the code that has a next step is on the page, in the first column of a table, and
// what stands there is in the code. Its table of doctor's problems is that of the code.
func TestTroubleshooting(t *testing.T) {
	path := filepath.Join(root, "docs", "troubleshooting.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	listed, said := map[string]bool{}, map[string]bool{}
	for _, key := range reference.FirstColumn(string(page)) {
		listed[key] = true
	}
	for _, text := range texts(t) {
		said[text.Key()] = true
		if text.Next && !listed[text.Key()] {
			t.Errorf("%s: docs/troubleshooting.md has no row for `%s`: write what it is that a user sees, why, and what to do", text.At, text.Key())
		}
	}
	for key := range listed {
		if !said[key] {
			t.Errorf("docs/troubleshooting.md: nothing says `%s` any more", key)
		}
	}
	problems, err := reference.Problems(filepath.Join(root, "internal", "doctor"), []string{"note", "stop", "notesStop"}, map[string]string{
		"installCommand": "nestctl install", "installFor": "nestctl install", "Command": "nestctl install",
		"key": "…: *", "restart": ", and restart it",
		"reason": "…", "WithoutURL": "…", "host": "…", "programAt": "…", "Error": "…",
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := reference.Between(string(page), "doctor", reference.ProblemTable(problems))
	if err != nil {
		t.Fatal(err)
	}
	if err := reference.Compare(path, want, "make docs", *update); err != nil {
		t.Error(err)
	}
}

// TestErrorList keeps docs/reference/errors.md: the texts that have no next step.
func TestErrorList(t *testing.T) {
	onPage := map[string]bool{}
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range reference.FirstColumn(string(page)) {
		onPage[key] = true
	}
	rest := slices.DeleteFunc(texts(t), func(text reference.Text) bool { return text.Next || onPage[text.Key()] })
	want, err := reference.ErrorList(errorHead, []reference.Topic{
		{Dir: "cmd", Title: "Commands and their flags"},
		{Dir: "remotes/auth", Title: "References, credentials and tokens"},
		{Dir: "internal/login", Title: "References, credentials and tokens"},
		{Dir: "remotes/registry", Title: "What registries answer"},
		{Dir: "internal/scrub", Title: "What registries answer"},
		{Dir: "remotes/nested", Title: "Indexes, manifests and child namespaces"},
		{Dir: "internal/oci", Title: "Indexes, manifests and child namespaces"},
		{Dir: "remotes/bundle", Title: "Pulling, copying, publishing and pruning"},
		{Dir: "internal/check", Title: "Pulling, copying, publishing and pruning"},
		{Dir: "internal/amount", Title: "Pulling, copying, publishing and pruning"},
		{Dir: "remotes/bundle/layout", Title: "Layouts and archives"},
		{Dir: "remotes/bundle/lock", Title: "Locks and the images of manifests"},
		{Dir: "internal/pin", Title: "Locks and the images of manifests"},
		{Dir: "internal/sources", Title: "Locks and the images of manifests"},
		{Dir: "config", Title: "Configuration"},
		{Dir: "internal/trust", Title: "Configuration"},
		{Dir: "internal/registriesconf", Title: "Configuration"},
		{Dir: "internal/node", Title: "Installation"},
		{Dir: "remotes/gateway", Title: "Gateway and front"},
		{Dir: "remotes/transport", Title: "Gateway and front"},
		{Dir: "internal/daemon", Title: "Gateway and front"},
		{Dir: "internal/handover", Title: "Gateway and front"},
		{Dir: "internal/intercept", Title: "nestctl exec"},
		{Dir: "internal/ctd", Title: "containerd"},
		{Dir: "plugin", Title: "containerd"},
		{Dir: "internal", Title: "Others"},
	}, rest)
	if err != nil {
		t.Fatal(err)
	}
	if err := reference.Compare(filepath.Join(root, "docs", "reference", "errors.md"), want, "make docs", *update); err != nil {
		t.Error(err)
	}
}

const errorHead = `# Other error texts

[Troubleshooting](../troubleshooting.md) has the texts with a next step, and their causes. These are the others: each names its
cause, and often only a part of a line, behind the name of the file, the reference or the flag that it is about. ` + "`…`" + ` stands for
names, numbers and causes.

This page is generated from the code: ` + "`make docs`" + ` writes it.
`
