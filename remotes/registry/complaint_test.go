package registry

import "testing"

// TestComplaintIn: the first error of a body in the spec's form, and nothing of any other.
func TestComplaintIn(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"errors":[{"code":"DENIED","message":"no"},{"code":"OTHER"}]}`: "DENIED: no",
		`{"errors":[{"code":"DENIED"}]}`:                                 "DENIED",
		`{"errors":[{"message":"no"}]}`:                                  "no",
		`{"errors":[{"code":"DENIED","detail":{"a":[1]}}]}`:              "DENIED",
		`{"errors":[]}`:             "",
		`{"errors":["no"]}`:         "",
		`{"errors":"no"}`:           "",
		`{"details":"no"}`:          "",
		`<html>no</html>`:           "",
		`{"errors":[{"code":"DEN`:   "",
		``:                          "",
		`null`:                      "",
		`{"errors":[{"code":404}]}`: "",
	} {
		if got := ComplaintIn([]byte(body)).String(); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// TestMediaType: without parameters, in lower case, and of what is not well-formed as much as there is.
func TestMediaType(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"text/html": "text/html", "Text/HTML; charset=UTF-8": "text/html", " text/html ;charset": "text/html", "": "", ";": "", "nonsense": "nonsense",
	} {
		if got := MediaType(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
