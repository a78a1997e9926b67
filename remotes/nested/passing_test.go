package nested_test

import (
	"net/http"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestRetriedPull: failures that may pass end no pull, and are asked about again
// as the registry wishes; those that do not pass end it soon, and say why.
func TestRetriedPull(t *testing.T) {
	of, first := registrytest.Of, registrytest.First
	after := func(seconds string) http.Header { return http.Header{"Retry-After": {seconds}} }
	for name, test := range map[string]struct {
		fault registrytest.Interceptor
		least time.Duration // that the pull's pauses take
		says  []string      // nil: it succeeds
	}{
		"root reset":       {fault: registrytest.Reset(first(2, of(registrytest.KindManifest)))},
		"layer reset":      {fault: registrytest.Reset(first(2, of(registrytest.KindBlob)))},
		"503 twice":        {fault: registrytest.Answer(503, nil, first(2, of(registrytest.KindBlob)))},
		"502":              {fault: registrytest.Answer(502, nil, first(1, of(registrytest.KindManifest)))},
		"503, wait":        {fault: registrytest.Answer(503, after("2"), first(1, of(registrytest.KindBlob))), least: 2 * time.Second},
		"503 twice, wait":  {fault: registrytest.Answer(503, after("2"), first(2, of(registrytest.KindManifest))), least: 4 * time.Second},
		"502, wait":        {fault: registrytest.Answer(502, after("2"), first(1, of(registrytest.KindManifest))), least: 2 * time.Second},
		"429, wait":        {fault: registrytest.Answer(429, after("1"), first(2, of(registrytest.KindManifest))), least: 2 * time.Second},
		"429, a date":      {fault: inSeconds(3, first(1, of(registrytest.KindManifest))), least: 2 * time.Second},
		"429, a day":       {fault: registrytest.Answer(429, after("86400"), of(registrytest.KindBlob)), says: []string{"429 Too Many Requests, asking to wait for 24h0m0s", parent + "/web"}},
		"503 for ever":     {fault: registrytest.Answer(503, nil, of(registrytest.KindBlob)), says: []string{"503 Service Unavailable", parent + "/web"}},
		"reset for ever":   {fault: registrytest.Reset(of(registrytest.KindBlob)), says: []string{"connection reset", parent + "/web"}},
		"no token twice":   {fault: registrytest.Answer(500, nil, first(2, of(registrytest.KindToken)))},
		"token reset":      {fault: registrytest.Reset(first(1, of(registrytest.KindToken)))},
		"no token forever": {fault: registrytest.Answer(503, nil, of(registrytest.KindToken)), says: []string{"token endpoint", "503", parent}},
		"denied":           {fault: registrytest.Answer(403, nil, of(registrytest.KindBlob)), says: []string{"403", parent + "/web"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, nested.Options{})
			member := clienttest.PutImage(s.registry, parent+"/web", "layer")
			root := s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))
			s.registry.Intercept(test.fault)
			err := s.pull(root)
			if test.says == nil {
				clienttest.NoError(t, err)
			} else {
				clienttest.WantError(t, err, test.says...)
			}
			if took := s.pauses.Sum(); took < test.least || took > test.least+20*time.Second {
				t.Errorf("it would have taken %s", took)
			}
			if n := s.registry.Count(); n > 40 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// inSeconds answers 429 with a date to come.
func inSeconds(n int, filter registrytest.Filter) registrytest.Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if !filter(registrytest.Describe(req)) {
			return false
		}
		date := time.Now().Add(time.Duration(n) * time.Second).UTC().Format(http.TimeFormat)
		return registrytest.Answer(429, http.Header{"Retry-After": {date}})(w, req)
	}
}
