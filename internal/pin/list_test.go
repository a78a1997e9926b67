package pin

import (
	"bytes"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
)

func TestMembersAreListed(t *testing.T) {
	repository := func(s string) auth.Repository {
		r, err := auth.ParseRepository(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	app, web := repository("r.example.com/app"), repository("r.example.com/app/web")
	const d = digest.Digest("sha256:0123")
	for name, test := range map[string]struct {
		format  string
		members []Member
		want    string
	}{
		"references":            {"ref", []Member{{"web", web, web, d, nil}, {"", app, app, d, nil}}, "r.example.com/app/web@sha256:0123\nr.example.com/app@sha256:0123\n"},
		"JSON":                  {"json", []Member{{"web", web, app, d, nil}}, `"ref": "r.example.com/app@sha256:0123"`},
		"no members in JSON":    {"json", nil, "[]\n"},
		"variables":             {"env", []Member{{"web", web, web, d, nil}, {"", app, app, d, nil}}, "WEB_IMAGE=r.example.com/app/web@sha256:0123\nIMAGE=r.example.com/app@sha256:0123\n"},
		"what is not in a name": {"env", []Member{{"tools/x-1", web, web, d, nil}, {"7zip", web, web, d, nil}}, "TOOLS_X_1_IMAGE=r.example.com/app/web@sha256:0123\n_7ZIP_IMAGE=r.example.com/app/web@sha256:0123\n"},
		"a variable twice":      {"env", []Member{{"a-b", web, web, d, nil}, {"a/b", web, web, d, nil}}, "would both be A_B_IMAGE"},
		"a kustomization":       {"kustomize", []Member{{"web", web, web, d, nil}}, "images:\n- name: r.example.com/app/web\n  digest: sha256:0123\n"},
		"found elsewhere":       {"kustomize", []Member{{"web", web, app, d, nil}}, "images:\n- name: r.example.com/app/web\n  newName: r.example.com/app\n  digest: sha256:0123\n"},
		"an image twice":        {"kustomize", []Member{{"web", web, web, d, nil}, {"web", web, app, d, nil}}, "would both be r.example.com/app/web"},
	} {
		var out bytes.Buffer
		if err := List(&out, test.format, test.members); err != nil {
			out.Reset()
			out.WriteString(err.Error())
		}
		if got := out.String(); got != test.want && (strings.HasSuffix(test.want, "\n") || !strings.Contains(got, test.want)) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
