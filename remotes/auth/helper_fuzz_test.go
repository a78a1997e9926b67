package auth

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
)

// Whatever a helper writes: either a fixed reason or a whole credential. Only
// the one sentence that says so, and failure, mean that there is none.
func FuzzHelperAnswer(f *testing.F) {
	for _, s := range []string{
		answering.Stdout, notFoundMessage, "", "{}", "null", "[]", `"x"`, "{} {}", `{"ServerURL":"reg","Username":"u","Secret":"s"}`,
		`{"Username":"<token>","Secret":"s"}`, `{"Username":"<token>","Secret":""}`, `{"ServerURL":"https://reg/v2/","Username":"u","Secret":"s"}`,
		`{"ServerURL":"evil","Username":"u","Secret":"s"}`, `{"username":"u","SECRET":"s"}`, `{"Username":"u","Username":"","Secret":"s"}`, "no credentials username",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	reasons := []string{"its answer is not JSON", "its answer is not a credential", "its answer lacks user name or secret"}
	f.Fuzz(func(t *testing.T, output []byte, fails bool) {
		failure := ""
		if fails {
			failure = "it exited with status 1"
		}
		c, reason := getFromHelper("docker-credential-x", "reg", func(args []string, input io.Reader) ([]byte, string) {
			if asked, err := io.ReadAll(input); err != nil || string(asked) != "reg" || len(args) != 1 || args[0] != "get" {
				t.Fatalf("asked %q %q %v", args, asked, err)
			}
			return output, failure
		})
		switch {
		case c != (Credential{}) && (reason != "" || fails):
			t.Errorf("%q: %+v and %q", output, c, reason)
		case c != (Credential{}):
			if c.Anonymous() || c.IdentityToken == "" && c.Username == "" || c.Username == "<token>" || c.Source == "" {
				t.Errorf("%q: %+v", output, c)
			}
		case reason == "":
			var empty struct{ Username, Secret string }
			if strings.TrimSpace(string(output)) != strings.TrimSpace(notFoundMessage) && (json.Unmarshal(output, &empty) != nil || empty.Username+empty.Secret != "") {
				t.Errorf("%q counts as not found", output)
			}
		case reason != failure && !slices.Contains(reasons, reason):
			t.Errorf("%q: reason %q is not a fixed one", output, reason)
		}
	})
}
