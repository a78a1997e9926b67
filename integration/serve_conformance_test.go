package integration

import (
	"encoding/xml"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// conformanceOf runs the distribution spec's conformance program, all of it, and returns the cases that passed.
func conformanceOf(t *testing.T, host string, who login, env ...string) map[string]bool {
	t.Helper()
	results := tempDir(t)
	cmd := exec.CommandContext(t.Context(), "conformance")
	cmd.Dir = results
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+host, "OCI_TLS=disabled", "OCI_RESULTS_DIR="+results, "OCI_VERSION=1.1",
		"OCI_REPO1=org/app", "OCI_REPO2=org/other", "OCI_USERNAME="+who.username, "OCI_PASSWORD="+who.password, "OCI_API_BLOBS_UPLOAD_CANCEL=true")
	cmd.Env = append(cmd.Env, env...)
	out, _ := cmd.CombinedOutput() // its status says that some case failed
	data, err := os.ReadFile(filepath.Join(results, "junit.xml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var junit struct {
		Suites []struct {
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Class   string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	must(t, xml.Unmarshal(data, &junit))
	passed := map[string]bool{}
	for _, suite := range junit.Suites {
		for _, c := range suite.Cases {
			passed[c.Class+" "+c.Name] = c.Failure == nil && c.Error == nil && c.Skipped == nil
		}
	}
	t.Logf("%s", out)
	return passed
}

// TestServeConformance: every case of the distribution spec's conformance program that passes at the registry itself passes
// through a front before it, and those of the referrers API do where the registry has none.
func TestServeConformance(t *testing.T) {
	needs(t, "conformance")
	who := login{"robot", "s3cret"}
	rights := map[string][]string{}
	for _, name := range []string{"org/app", "org/other"} {
		rights[name] = []string{"pull", "push", "delete"}
	}
	tokens := startTokenServer(t, map[string]user{who.username: {password: who.password, rights: rights}})
	itself := registryOptions{serve: (*httptest.Server).Start, deletes: true}.start(t, tokens)
	behind := registryOptions{serve: (*httptest.Server).Start, deletes: true}.start(t, tokens)
	want, got := conformanceOf(t, itself.host, who), conformanceOf(t, startServe(t, nil, "--registry", "127.0.0.1="+behind.host), who, "OCI_TLS=enabled", "SSL_CERT_FILE="+serverCertificate(t))
	passed := 0
	for name, ok := range want {
		if !ok {
			t.Logf("the registry itself fails: %s (through the front: %t)", name, got[name])
			continue
		}
		if passed++; !got[name] {
			t.Errorf("fails: %s", name)
		}
	}
	if passed < 50 {
		t.Errorf("%d cases passed at the registry, so that little is shown", passed)
	}
}
