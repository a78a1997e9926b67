package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

const foreign = registrytest.ForeignText

func jsonOf(tb testing.TB, v any) string {
	tb.Helper()
	data, err := json.Marshal(v)
	clienttest.NoError(tb, err)
	return string(data)
}

// foreignBundle has foreign text wherever a document may have text.
func foreignBundle(tb testing.TB) (document, other string) {
	tb.Helper()
	text := func(v any) string { return jsonOf(tb, v) }
	annotations := text(map[string]string{foreign: foreign, ocispec.AnnotationTitle: foreign, ocispec.AnnotationRefName: foreign})
	platform := text(ocispec.Platform{OS: "linux" + foreign, Architecture: "amd64", Variant: foreign, OSVersion: foreign})
	document = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","artifactType":` + text(foreign) + `,"annotations":` + annotations + `,"manifests":[` +
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":` + text(foreign) + `,"digest":"DIGEST","size":SIZE,"platform":` + platform +
		`,"annotations":` + annotations[:len(annotations)-1] + `,"io.github.nestedoci.child-namespace":"web"}},` +
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"DIGEST","size":SIZE,"annotations":` + text(map[string]string{ocispec.AnnotationRefName: "b" + foreign}) + `}]}`
	config := `{"os":"linux","architecture":` + text(foreign) + `}`
	other = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":` + text(foreign) + `,"annotations":` + annotations +
		`,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digest.FromString(config).String() + `","size":` + strconv.Itoa(len(config)) +
		`,"annotations":` + annotations + `},"layers":[]}`
	return document, other
}

// answering answers all requests with foreign text in all that an answer has.
func answering(status int) registrytest.Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		header := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, foreign)
		w.Header().Set("Content-Type", "text/"+header)
		w.Header().Set("Docker-Content-Digest", header)
		w.Header().Set("Warning", `299 - "`+header+`"`)
		w.Header().Set("Location", "https://"+header+"/"+header)
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+req.Host+`/`+header+`",service="`+header+`",error="`+header+`"`)
		w.WriteHeader(status)
		message, _ := json.Marshal(foreign)
		fmt.Fprintf(w, `{"errors":[{"code":%s,"message":%s,"detail":%s}]}`, message, message, message)
		return true
	}
}

// TestForeignText: whatever a document, a layout or an answer says, no command
// prints it raw, neither as a result, in text or JSON, nor as an error or in a
// log.
func TestForeignText(t *testing.T) {
	quiet(t)
	r := registrytest.New() // whose answers lead to requests that no registry knows
	t.Cleanup(r.Close)
	document, other := foreignBundle(t)
	r.PutBlob("org/app/web", "application/octet-stream", []byte(`{"os":"linux","architecture":`+jsonOf(t, foreign)+`}`))
	for _, status := range []int{0, 200, 400, 401, 403, 404, 405} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			s := newDocumentScene(t, r, documentTypes[0], document, other)
			if r.ResetIntercepts(); status != 0 {
				r.Intercept(answering(status))
			}
			for _, command := range reading {
				s.run(t, command+" --debug")
			}
		})
	}
	r.ResetIntercepts()
	s := newDocumentScene(t, r, documentTypes[0], document, other)
	var tree struct {
		Children []struct{ ArtifactType string }
	}
	status, stdout, _ := s.run(t, "tree --format json REG/org/app:v1")
	if err := json.Unmarshal([]byte(stdout), &tree); status != 0 || err != nil || len(tree.Children) != 2 || tree.Children[0].ArtifactType != foreign {
		t.Errorf("the tree: %d, %v: %s", status, err, stdout)
	}
	var index ocispec.Index
	status, stdout, _ = s.run(t, "index add --dry-run REG/org/app:v1 REG/org/app/web@"+digest.FromString(other).String())
	if err := json.Unmarshal([]byte(stdout), &index); status != 0 || err != nil || index.Annotations[foreign] != foreign || index.ArtifactType != foreign {
		t.Errorf("the index: %d, %v: %s", status, err, stdout)
	}
}

// TestForeignTextOfEveryCommand: no command that prints JSON is missing above.
func TestForeignTextOfEveryCommand(t *testing.T) {
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		for _, below := range c.Commands() {
			look(below)
		}
		path := strings.TrimPrefix(c.CommandPath(), "nestctl ")
		f := c.Flags().Lookup("format")
		if f == nil || !strings.Contains(f.Usage, "json") {
			return
		}
		for _, command := range reading {
			if strings.HasPrefix(command, path+" ") && strings.Contains(command, "--format json") {
				return
			}
		}
		if path != "index add" && path != "index remove" { // which print what create prints
			t.Errorf("%s prints JSON, and is not among the commands", path)
		}
	}
	look(newRoot())
}
