package registry

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestSettleLocation: where an upload goes on, in the two forms that docker's pusher understands.
func TestSettleLocation(t *testing.T) {
	const asked = "https://reg.test/v2/org/app/blobs/uploads/"
	for _, test := range []struct{ asked, location, want string }{
		{asked, "/v2/org/app/blobs/uploads/1?_state=a%2Fb", "/v2/org/app/blobs/uploads/1?_state=a%2Fb"},
		{asked, "https://reg.test/v2/org/app/blobs/uploads/1?a=b", "/v2/org/app/blobs/uploads/1?a=b"},
		{asked, "https://reg.test:443/v2/org/app/blobs/uploads/1", "/v2/org/app/blobs/uploads/1"},
		{asked, "https://REG.test/up/1", "/up/1"},
		{asked, "//reg.test/up/1", "/up/1"},
		{asked, "//reg.test:443/up/1", "/up/1"},
		{asked, "reg.test/up/1", "/up/1"},
		{asked, "uploads-id", "/v2/org/app/blobs/uploads/uploads-id"},
		{asked, "?_state=x", "/v2/org/app/blobs/uploads/?_state=x"},
		{asked, "../1", "/v2/org/app/blobs/1"},
		{asked, "https://user:secret@reg.test/up/1", "/up/1"},
		{asked, "//store.test/up/1?signed=x", "https://store.test/up/1?signed=x"},
		{asked, "https://store.test:443/up/1", "https://store.test:443/up/1"},
		{asked, "https://reg.test:8443/up/1", "https://reg.test:8443/up/1"},
		{asked, "http://reg.test/up/1", "http://reg.test/up/1"},
		{"https://store.test/moved/", "/up/1", "https://store.test/up/1"}, // after a redirect
		{"https://store.test/moved/", "uploads-id", "https://store.test/moved/uploads-id"},
		{"https://store.test/moved/", "https://reg.test/up/1", "/up/1"},
	} {
		e := &endpoint{registry: auth.NewRegistry("https", "reg.test", &http.Transport{}, auth.Sources{}, auth.RegistryOptions{})}
		e.host.Host = "reg.test"
		u, err := url.Parse(test.asked)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{"Location": {test.location}}}
		if e.settleLocation(&http.Request{URL: u}, resp); resp.Header.Get("Location") != test.want {
			t.Errorf("%s in an answer of %s: %s, want %s", test.location, test.asked, resp.Header.Get("Location"), test.want)
		}
		redirect := &http.Response{StatusCode: http.StatusTemporaryRedirect, Header: http.Header{"Location": {test.location}}}
		if e.settleLocation(&http.Request{URL: u}, redirect); redirect.Header.Get("Location") != test.location {
			t.Errorf("a redirect was changed to %s", redirect.Header.Get("Location"))
		}
	}
}
