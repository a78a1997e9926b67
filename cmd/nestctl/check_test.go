package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/check"
	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// checkScene is a registry with nothing in it that anybody may pull from, for
// commands that have no other credentials.
func checkScene(t *testing.T) *registrytest.Registry {
	t.Helper()
	ownCredentials(t)
	return clienttest.NewPublicRegistry(t)
}

// runCheck checks a bundle and returns the report.
func runCheck(t *testing.T, status int, ref string, args ...string) check.Report {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append([]string{"check", "--plain-http", "--hosts-dir=", "--format=json", ref}, args...)
	if got := run(t.Context(), args, &stdout, &stderr); got != status {
		t.Fatalf("exit status %d, want %d: %s%s", got, status, &stdout, &stderr)
	}
	var report check.Report
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	return report
}

// TestCheckInterrupted: there is no report on what was not asked to the end.
func TestCheckInterrupted(t *testing.T) {
	for _, kind := range []registrytest.Kind{registrytest.KindManifest, registrytest.KindBlob} {
		r := checkScene(t)
		r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(r.Image("org/app/web", []byte("layer")), "web")).Digest)
		ctx, cancel := context.WithCancel(t.Context())
		stall := r.Stall()
		r.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if q := registrytest.Describe(req); q.Kind != kind || q.Repository != "org/app/web" {
				return false
			}
			cancel()
			return stall(w, req)
		})
		var stdout, stderr bytes.Buffer
		status := run(ctx, []string{"check", "--plain-http", "--hosts-dir=", r.Host() + "/org/app:v1"}, &stdout, &stderr)
		if status != failure || stdout.Len() > 0 || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("%s: exit status %d: %s%s", kind, status, &stdout, &stderr)
		}
	}
}
