package fronttest

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

func expiredTokens(s *Asking) {
	root := s.Publish()
	s.FetchBy(s.Ask, root)
	s.Registry.ExpireTokens()
	s.FetchBy(s.Ask, root)
}

// member publishes an image with one layer in org/app/web, and gets the manifests.
func (s *Asking) member(layer string) ocispec.Descriptor {
	s.T.Helper()
	blob := s.Registry.PutBlob("org/app/web", ocispec.MediaTypeImageLayer, []byte(layer))
	web := s.Registry.Artifact("org/app/web", "application/x-test", blob)
	s.index(registrytest.Member(web, "web"))
	s.want(s.get("manifests", web.Digest), s.Registry.Body(web.Digest))
	return blob
}

func redirectElsewhere(s *Asking) {
	other := clienttest.NewRegistry(s.T)
	other.PutBlob("org/app/web", ocispec.MediaTypeImageLayer, []byte("layer"))
	blob := s.member("layer")
	s.Registry.Intercept(registrytest.Redirect(other.URL(), registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob), registrytest.In("org/app/web")))
	if got := s.get("blobs", blob.Digest); got.Status < http.StatusMultipleChoices && got.Body != "layer" { // http after https is refused
		s.T.Errorf("%+v", got)
	}
	if shown := other.Log(registrytest.WithCredentials); len(shown) > 0 {
		s.T.Errorf("it was shown %v", shown)
	}
}

func refusedRedirects(s *Asking) {
	blob := s.member("layer")
	for _, to := range []string{"ftp://cdn.test?secret=canary", "http://169.254.169.254", "https://[?secret=canary", "file:///etc/shadow"} {
		s.Registry.ResetIntercepts()
		s.Registry.Intercept(registrytest.Answer(http.StatusTemporaryRedirect, http.Header{"Location": {to}}, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob), registrytest.In("org/app/web")))
		if got := s.get("blobs", blob.Digest); got.Status < http.StatusBadRequest || strings.Contains(got.Body, Secret) {
			s.T.Errorf("%s: %+v", to, got)
		}
	}
	s.Registry.ResetIntercepts()
	s.Registry.ResetLog()
	s.Registry.Intercept(registrytest.Answer(http.StatusTemporaryRedirect, http.Header{"Location": {"/v2/org/app/web/blobs/" + blob.Digest.String()}}, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob), registrytest.In("org/app/web")))
	s.wantError(s.get("blobs", blob.Digest), http.StatusBadGateway, "redirect")
	if n := s.asked("org/app/web"); n > 30 {
		s.T.Errorf("a loop was followed %d times", n)
	}
}

func signedURL(s *Asking) {
	storage := clienttest.NewRegistry(s.T)
	storage.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	s.T.Cleanup(storage.ResetLog) // a path of no registry
	blob := s.member("layer")
	s.Registry.Intercept(registrytest.Answer(http.StatusTemporaryRedirect, http.Header{"Location": {storage.URL() + "/bucket?signature=" + Secret}}, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob), registrytest.In("org/app/web")))
	if got := s.get("blobs", blob.Digest); got.Status < http.StatusBadRequest || strings.Contains(got.Body, Secret) {
		s.T.Errorf("%+v", got)
	}
}

func cutManifest(s *Asking) {
	web := s.Registry.Image("org/app/web", []byte("web"))
	s.index(registrytest.Member(web, "web"))
	s.Registry.Intercept(s.Registry.Truncate(20, registrytest.First(1, registrytest.WithCredentials, registrytest.Method(http.MethodGet), registrytest.Of(registrytest.KindManifest), registrytest.In("org/app/web"))))
	s.want(s.get("manifests", web.Digest), s.Registry.Body(web.Digest))
}

func cutBlob(s *Asking) {
	content := strings.Repeat("layer", 50_000)
	blob := s.member(content)
	for _, at := range []int{0, 1, len(content) / 2, len(content) - 1} {
		s.Registry.ResetIntercepts()
		s.Registry.Intercept(s.Registry.Truncate(at, registrytest.First(1, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob))))
		s.want(s.get("blobs", blob.Digest), content)
	}
}

func ignoredRange(s *Asking) {
	content := strings.Repeat("layer", 50_000)
	blob := s.member(content)
	s.Registry.Intercept(registrytest.IgnoreRange(registrytest.Of(registrytest.KindBlob)))
	s.Registry.Intercept(s.Registry.Truncate(1000, registrytest.First(1, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob))))
	s.want(s.get("blobs", blob.Digest), content)
}

func failsTwice(s *Asking) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusBadGateway} {
		blob := s.member(fmt.Sprint("layer of ", status))
		s.Registry.Intercept(registrytest.Answer(status, nil, registrytest.First(2, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob))))
		s.want(s.get("blobs", blob.Digest), fmt.Sprint("layer of ", status))
	}
}

func busyForADay(s *Asking) {
	blob := s.member("layer")
	s.Registry.Intercept(registrytest.Answer(http.StatusTooManyRequests, http.Header{"Retry-After": {"86400"}}, registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob)))
	began := time.Now()
	got := s.get("blobs", blob.Digest)
	if got.Status != http.StatusServiceUnavailable && (got.Status != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "86400") || time.Since(began) > 20*time.Second {
		s.T.Errorf("%+v, in %v", got, time.Since(began))
	}
}

func loginPage(s *Asking) {
	blob := s.member("layer")
	s.Registry.Intercept(registrytest.Say(http.StatusOK, "text/html; charset=utf-8", "<!DOCTYPE html>", registrytest.WithCredentials, registrytest.In("org/app/web")))
	another := s.Registry.Image("org/app/web", []byte("another"))
	s.index(registrytest.Member(another, "web"))
	for _, path := range []string{"blobs/" + blob.Digest.String(), "manifests/" + another.Digest.String()} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if got := s.Ask(method, "/v2/org/app/"+path); got.Status < http.StatusBadRequest {
				s.T.Errorf("%s %s: %+v", method, path, got)
			}
		}
	}
}

func errorsForATerminal(s *Asking) {
	blob := s.member("layer")
	said := `{"errors":[{"code":"DENIED","message":"\u001b[31mno\u0007\u202e` + strings.Repeat("x", 1<<20) + `"}]}`
	for _, status := range []int{http.StatusForbidden, http.StatusBadRequest, http.StatusTeapot} {
		s.Registry.ResetIntercepts()
		s.Registry.Intercept(registrytest.Say(status, "application/json", said, registrytest.WithCredentials, registrytest.In("org/app/web")))
		got := s.get("blobs", blob.Digest)
		if got.Status < http.StatusBadRequest || len(got.Body) > 16<<10 || strings.ContainsAny(got.Body, "\x1b\a\u202e\n") || strings.Contains(got.Body, `\u001b`) {
			s.T.Errorf("%d: %d, %d bytes %.200q", status, got.Status, len(got.Body), got.Body)
		}
	}
}

func head(s *Asking) {
	blob := s.member("layer")
	for _, fault := range []registrytest.Interceptor{nil, registrytest.Answer(http.StatusMethodNotAllowed, nil, registrytest.WithCredentials, registrytest.Method(http.MethodHead), registrytest.In("org/app/web"))} {
		if fault != nil {
			s.Registry.Intercept(fault)
		}
		got := s.Ask(http.MethodHead, "/v2/org/app/blobs/"+blob.Digest.String())
		if got.Status != http.StatusOK || got.Header.Get("Content-Length") != "5" || got.Header.Get("Docker-Content-Digest") != blob.Digest.String() || got.Header.Get("Content-Type") == "" {
			s.T.Errorf("%+v", got)
		}
	}
	if got := s.Ask(http.MethodGet, "/v2/org/app/blobs/"+blob.Digest.String(), "Range", "bytes=1-3"); got.Status != http.StatusPartialContent || got.Body != "aye" {
		s.T.Errorf("%+v", got)
	}
}
