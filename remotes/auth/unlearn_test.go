package auth

import (
	"net/http"
	"testing"
)

// A challenge that cannot be answered is not kept: the next request goes
// unsigned and brings the registry's challenge of the day.
func TestUnanswerableChallengeIsDropped(t *testing.T) {
	t.Parallel()
	registry := newRegistry(t, "https://reg.test", RegistryOptions{})
	a := registry.Authorizer(repository(t, "reg.test/a"))
	request, err := http.NewRequestWithContext(ctx(), http.MethodGet, "https://reg.test/v2/a/manifests/v1", nil)
	if err != nil {
		t.Fatal(err)
	}
	challenged := &http.Response{Request: request, Header: http.Header{"Www-Authenticate": {`Bearer realm="ftp://old/token"`}}}
	if err := a.AddResponses(ctx(), []*http.Response{challenged}); err != nil {
		t.Fatal(err)
	}
	if err := a.Authorize(ctx(), request); err == nil {
		t.Fatal("an ftp realm was taken")
	}
	if err := a.Authorize(ctx(), request); err != nil {
		t.Errorf("the challenge was kept: %v", err)
	}
}

// A 401 to a signed request is a denial, whatever it says or does not say.
func TestDenialWithoutChallenge(t *testing.T) {
	t.Parallel()
	registry := newRegistry(t, "https://reg.test", RegistryOptions{})
	a := registry.Authorizer(repository(t, "reg.test/a"))
	request, err := http.NewRequestWithContext(ctx(), http.MethodGet, "https://reg.test/v2/a/manifests/v1", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer token")
	err = a.AddResponses(ctx(), []*http.Response{{Request: request, Header: http.Header{}}})
	wantError(t, err, "reg.test/a denied", "the registry answered 401")
}
