package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestPlugin reads the section as containerd hands it over.
func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	docker := filepath.Join(dir, "config.json")
	if err := os.WriteFile(docker, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ParsePlugin(map[string]any{
		"docker_config":  dir,
		"helper_timeout": "5s",
		"allow":          []any{"reg.test/org/**"},
		"members":        "platform",
		"member_records": []any{"default", "test"},
		"verify":         "root",
		"properties":     []any{"elsewhere"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultPlugin()
	want.DockerConfig, want.HelperTimeout = []string{dir}, 5*time.Second
	want.Allow, want.Members, want.MemberRecords, want.Verify = []string{"reg.test/org/**"}, "platform", []string{"default", "test"}, "root"
	want.Properties = []string{"elsewhere"}
	if !reflect.DeepEqual(*p, want) {
		t.Errorf("got  %+v\nwant %+v", *p, want)
	}
	if p, err = ParsePlugin(DefaultPlugin().Table()); err != nil || !reflect.DeepEqual(*p, DefaultPlugin()) {
		t.Errorf("the defaults come back as %+v, %v", p, err)
	}
}

// TestPluginProblems: all of them at once, each with its key.
func TestPluginProblems(t *testing.T) {
	readable := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(readable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(readable, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := ParsePlugin(map[string]any{
		"docker_config":  []any{"relative", readable},
		"helper_timeout": int64(5),
		"member":         "all",
		"members":        "some",
		"member_records": []any{"!", "default"},
		"verify":         true,
		"annotations":    []any{},
		"properties":     []any{},
		"allow":          []any{"reg.test"},
		"mode":           "node",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`docker_config has "relative" in it; must be absolute paths`,
		"docker_config: " + readable + " can be written by its group or others; chmod go-w ",
		"helper_timeout is an integer; must be a duration", "unknown key member; did you mean members?", `members is "some"`, `member_records has "!" in it`, "verify is a boolean",
		"annotations and properties are empty", `allow has "reg.test" in it`, "unknown key mode; remove it; docs/containerd.md lists the keys",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%s", want, strings.ReplaceAll(err.Error(), "; ", ";\n"))
		}
	}
	for _, not := range []string{"nested.", "credentials.", ":1:"} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("%q in %v", not, err)
		}
	}
}

func TestPluginRecords(t *testing.T) {
	for _, test := range []struct {
		list      []string
		namespace string
		want      bool
	}{
		{[]string{"!k8s.io"}, "k8s.io", false},
		{[]string{"!k8s.io"}, "default", true},
		{nil, "k8s.io", true},
		{[]string{"default"}, "default", true},
		{[]string{"default"}, "other", false},
		{[]string{"default", "!other"}, "other", false},
	} {
		p := DefaultPlugin()
		p.MemberRecords = test.list
		if got := p.Records(test.namespace); got != test.want {
			t.Errorf("%q in %s: %t", test.list, test.namespace, got)
		}
	}
}

func TestPluginAllows(t *testing.T) {
	p := DefaultPlugin()
	app := pluginRepository(t, "reg.test/org/app")
	if !p.Allows(app) {
		t.Error("nothing is said, and it is not allowed")
	}
	p.Allow = []string{"reg.test/org/**"}
	if !p.Allows(app) || p.Allows(pluginRepository(t, "reg.test/other/app")) {
		t.Error("the pattern does not decide")
	}
}

func pluginRepository(t *testing.T, s string) auth.Repository {
	t.Helper()
	r, err := auth.ParseRepository(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
