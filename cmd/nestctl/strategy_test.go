package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

const supporting = `{"version": 2, "validates": true, "serves": true, "cleansUp": true}`

// publishing is a registry that takes all, with org/app/web:v1, and with org/src:v1, which has the members web and, as
// an inner index, data.
func publishing(t *testing.T, says string) *registrytest.Registry {
	t.Helper()
	r := pushScene(t, registrytest.SupportsChildNamespaces(says))
	image := func(repository string) ocispec.Descriptor {
		return r.Image(repository, registrytest.TarLayer(map[string]string{"from": "here"}))
	}
	r.Tag("org/app/web", "v1", image("org/app/web").Digest)
	inner := r.Index("org/src/data", registrytest.Member(image("org/src/data/db"), "db"))
	root := r.Index("org/src", registrytest.Member(image("org/src/web"), "web"), registrytest.Member(inner, "data"), image("org/src"))
	r.Tag("org/src", "v1", root.Digest)
	r.ResetLog()
	return r
}

// TestStrategy: an index goes as it is where the registry says that it keeps that, or where that is asked for, which is
// warned of; otherwise in a carrier. The registry is asked once in each run, and only where the answer decides.
func TestStrategy(t *testing.T) {
	const warned = "warning: --strategy reference: "
	for _, test := range []struct {
		says, flag, want, warning string
		asked                     int
	}{
		{"", "auto", "carrier", "", 1},
		{`{"version": 2, "validates": true, "serves": true, "cleansUp": false}`, "auto", "carrier", "", 1},
		{supporting, "auto", "reference", "", 1},
		{"", "reference", "reference", warned, 0},
		{supporting, "carrier", "carrier", "", 0},
	} {
		for command, args := range map[string][]string{
			"create": {"index", "create", "--tag", "other", "REG/org/app:v1", "REG/org/app/web:v1"},
			"add":    {"index", "add", "REG/org/src:v1", "REG/org/src/web/more:v1"},
			"remove": {"index", "remove", "REG/org/src:v1", "web"},
			"copy":   {"copy", "-q", "REG/org/src:v1", "REG/org/app:v1"},
		} {
			r := publishing(t, test.says)
			r.Tag("org/src/web/more", "v1", r.Image("org/src/web/more").Digest)
			out, errs := publishWith(t, r, append(args, "--strategy", test.flag)...)
			if !strings.Contains(out, "as "+test.want) || !strings.Contains(errs, test.warning) || test.warning == "" && errs != "" {
				t.Errorf("%s %s at %s: %s%s", command, test.flag, test.says, out, errs)
			}
			asked := test.asked
			if strings.HasPrefix(command, "a") || command == "remove" { // whose inner index is protected as auto has it
				asked = 1
			}
			if n := r.Count(registrytest.Of(registrytest.KindSupport)); n != asked {
				t.Errorf("%s %s at %s: asked %d times, want %d", command, test.flag, test.says, n, asked)
			}
		}
	}
}

// publishWith runs nestctl, which has to succeed.
func publishWith(t *testing.T, r *registrytest.Registry, args ...string) (stdout, stderr string) {
	t.Helper()
	args = slices.Clone(args)
	for i, a := range args {
		args[i] = strings.Replace(a, "REG/", r.Host()+"/", 1)
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), append(args, "--plain-http", "--hosts-dir="), &out, &errs); status != 0 {
		t.Fatalf("%q: %d\n%s", args, status, errs.String())
	}
	return out.String(), errs.String()
}

// TestCopyKeeps: what a nested index names has a tag in its own repository at the destination, also what is in the
// index's own, which a carrier does not name, and unprotect deletes these tags, too. Without tags there is a warning.
func TestCopyKeeps(t *testing.T) {
	r := publishing(t, "")
	publishWith(t, r, "copy", "-q", "REG/org/src:v1", "REG/org/app:v1")
	r.Intercept(registrytest.Answer(http.StatusAccepted, nil, registrytest.Method(http.MethodDelete)))
	tagged := func(method string) (all []string) {
		for _, q := range r.Log(registrytest.Method(method), registrytest.Of(registrytest.KindManifest)) {
			if strings.HasPrefix(q.Reference, "nested-") {
				all = append(all, q.Repository)
			}
		}
		slices.Sort(all)
		return all
	}
	want := []string{"org/app", "org/app/data", "org/app/data/db", "org/app/web"}
	if got := tagged(http.MethodPut); !slices.Equal(got, want) {
		t.Errorf("tags in %q, want %q", got, want)
	}
	listed, _ := publishWith(t, r, "index", "unprotect", "--dry-run", "REG/org/app:v1")
	if got := tagged(http.MethodDelete); len(got) > 0 || strings.Count(listed, "would delete ") != len(want) {
		t.Errorf("a dry run: deleted in %q, listed %q", got, listed)
	}
	publishWith(t, r, "index", "unprotect", "REG/org/app:v1")
	if got := slices.Compact(tagged(http.MethodDelete)); !slices.Equal(got, want) {
		t.Errorf("deleted tags in %q, want %q", got, want)
	}
	r.ResetLog()
	_, errs := publishWith(t, r, "copy", "-q", "--no-protect", "REG/org/src:v1", "REG/org/other:v1")
	if got := tagged(http.MethodPut); len(got) > 0 || !strings.HasPrefix(errs, "warning: --no-protect: ") {
		t.Errorf("tags in %q, and %q", got, errs)
	}
	_, errs = publishWith(t, r, "index", "create", "--no-protect", "REG/org/app:v2", "REG/org/app/web:v1")
	if got := tagged(http.MethodPut); len(got) > 0 || !strings.HasPrefix(errs, "warning: --no-protect: ") {
		t.Errorf("tags in %q, and %q", got, errs)
	}
}

// TestRemoveCleansUp: what is deleted with a member goes to standard error, so that the result can be read by programs,
// and is what a dry run has listed.
func TestRemoveCleansUp(t *testing.T) {
	r := publishing(t, "")
	r.Intercept(r.Deletes())
	publishWith(t, r, "copy", "-q", "REG/org/src:v1", "REG/org/app:v1")
	out, would := publishWith(t, r, "index", "remove", "--clean-up", "--dry-run", "REG/org/app:v1", "data")
	if !json.Valid([]byte(out)) || !strings.Contains(would, "would delete "+r.Host()+"/org/app/data/db@") {
		t.Errorf("listed %q and %q", out, would)
	}
	out, did := publishWith(t, r, "index", "remove", "--clean-up", "--format", "json", "REG/org/app:v1", "data")
	if !json.Valid([]byte(out)) || strings.ReplaceAll(would, "would delete", "deleted") != did {
		t.Errorf("printed %q, listed\n%s\ndid\n%s", out, would, did)
	}
	publishWith(t, r, "check", "REG/org/app:v1")
	_, errs := publishWith(t, r, "index", "remove", "REG/org/app:v1", "web")
	if errs != "" {
		t.Errorf("without the flag: %s", errs)
	}
}

// TestAddAndCreateCleanUp: the old index goes when add or create moves its tag, as a dry run has listed, and what the new
// one names stays. Where a dry run cannot know what that is, it ends before a request.
func TestAddAndCreateCleanUp(t *testing.T) {
	r := publishing(t, "")
	r.Intercept(r.Deletes())
	r.Tag("org/app/data", "v1", r.Image("org/app/data").Digest)
	_, errs := publishWith(t, r, "index", "create", "--clean-up", "REG/org/app:v1", "REG/org/app/web:v1")
	if errs != "" {
		t.Errorf("a new index: %s", errs)
	}
	for _, args := range [][]string{
		{"index", "add", "--clean-up", "REG/org/app:v1", "REG/org/app/data:v1"},
		{"index", "create", "--clean-up", "REG/org/app:v1", "REG/org/app/data:v1"},
	} {
		out, would := publishWith(t, r, append(args, "--dry-run")...)
		if !json.Valid([]byte(out)) || !strings.Contains(would, "would delete "+r.Host()+"/org/app@") || strings.Contains(would, "org/app/data@") {
			t.Errorf("%q: listed %q and %q", args, out, would)
		}
		out, did := publishWith(t, r, append(args, "--format", "json")...)
		if !json.Valid([]byte(out)) || strings.ReplaceAll(would, "would delete", "deleted") != did {
			t.Errorf("%q: printed %q, listed\n%s\ndid\n%s", args, out, would, did)
		}
		publishWith(t, r, "check", "REG/org/app:v1")
	}
	if _, errs = publishWith(t, r, "index", "create", "--clean-up", "REG/org/app:v1", "REG/org/app/data:v1"); errs != "" {
		t.Errorf("the same again: %s", errs)
	}
	r.ResetLog()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"index", "create", "--clean-up", "--dry-run", "--copy", r.Host() + "/org/app:v1", r.Host() + "/org/src:v1"}, &stdout, &stderr)
	if status != 2 || !strings.Contains(stderr.String(), "--clean-up --dry-run: ") || len(r.Log()) > 0 {
		t.Errorf("%d %s%s", status, &stdout, &stderr)
	}
}
