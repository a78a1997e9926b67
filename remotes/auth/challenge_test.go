package auth

import (
	"net/http"
	"strings"
	"testing"
)

func TestParseChallenge(t *testing.T) {
	t.Parallel()
	bearer := `bearer realm="https://r/t",service="s"`
	for _, test := range []struct {
		name    string
		headers []string
		want    string // Challenge.String, or what the error says
	}{
		{"as usual", []string{`Bearer realm="https://r/t",service="s",scope="repository:a:pull"`}, bearer + `,scope="repository:a:pull"`},
		{"error", []string{`Bearer realm="https://r/t",service="s",error="invalid_token"`}, bearer + `,error="invalid_token"`},
		{"any case", []string{`BEARER Realm="https://r/t", SERVICE="s"`}, bearer},
		{"spaces", []string{"Bearer  realm = \"https://r/t\" ,\tservice = s"}, bearer},
		{"tokens", []string{`Bearer realm=r,service=s`}, `bearer realm="r",service="s"`},
		{"no commas", []string{`Bearer realm="https://r/t" service="s"`}, bearer},
		{"empty elements", []string{`,, Bearer realm="https://r/t",, service="s",`}, bearer},
		{"commas in quotes", []string{`Bearer realm="https://r/t?a,b=c, Basic realm=x",service="s"`}, `bearer realm="https://r/t?a,b=c, Basic realm=x",service="s"`},
		{"an equals sign before a comma in quotes", []string{`Bearer realm="https://r/t?a=,b",service="s"`}, `bearer realm="https://r/t?a=,b",service="s"`},
		{"escapes", []string{`Bearer realm="https://r/\t\"\\",service="s"`}, `bearer realm="https://r/t\"\\",service="s"`},
		{"of a repeated parameter the first", []string{`Bearer realm="https://r/t",service="s",realm="https://evil"`}, bearer},
		{"Basic", []string{`Basic realm="x"`}, `basic realm="x"`},
		{"Basic without a realm", []string{`Basic`}, `basic`},
		{"Bearer before Basic, one header", []string{`Basic realm="x", Bearer realm="https://r/t",service="s"`}, bearer},
		{"Bearer before Basic, two headers", []string{`Basic realm="x"`, `Bearer realm="https://r/t",service="s"`}, bearer},
		{"Bearer first", []string{`Bearer realm="https://r/t",service="s", Basic realm="x"`}, bearer},
		{"Negotiate first", []string{`Negotiate`, `Bearer realm="https://r/t",service="s"`}, bearer},
		{"Negotiate with a blob", []string{`Negotiate a+/b==, Bearer realm="https://r/t",service="s"`}, bearer},
		{"Digest with parameters", []string{`Digest realm="d", nonce=abc, Basic realm="x"`}, `basic realm="x"`},

		{"nothing", nil, "neither Bearer nor Basic"},
		{"unknown", []string{`Negotiate`}, "neither Bearer nor Basic"},
		{"no realm", []string{`Bearer service="s"`}, "no realm"},
		{"empty realm", []string{`Bearer realm="",service="s"`}, "no realm"},
		{"empty realm although Basic would do", []string{`Bearer realm="", Basic realm="x"`}, "no realm"},
		{"open quotes", []string{`Bearer realm="https://r/t`}, "unbalanced quotes"},
		{"open quotes, two headers", []string{`Bearer realm="https://r`, `Basic realm="x"`}, "not a list of challenges"},
		{"escape at the end", []string{`Bearer realm="x\`}, "unbalanced quotes"},
		{"no scheme", []string{`realm="https://r/t"`}, "not a list of challenges"},
		{"control characters", []string{"Bearer\x00 realm=x"}, "not a list of challenges"},
		{"64 KiB", []string{`Bearer realm="https://r/` + strings.Repeat("x", 64<<10) + `"`}, "longer than"},
	} {
		c, err := ParseChallenge(http.Header{"Www-Authenticate": test.headers})
		got := c.String()
		if err != nil {
			got = err.Error()
			if !strings.Contains(got, test.want) || len(got) > 400 || strings.ContainsAny(got, "\n\x00") {
				t.Errorf("%s: error %.500q, want %q", test.name, got, test.want)
			}
			continue
		}
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://r/t",service="s",scope="repository:a:pull",error="invalid_token"`, `Basic realm="a, b"`, `Basic`,
		`Negotiate a==, Bearer realm=x`, `Bearer realm="\"\\",service=",="`, `Digest nonce=1, Basic x`, `Bearer realm="a=,b"`, `bearer realm = x y=z`, `="`, `Bearer realm="`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseChallenge(http.Header{"Www-Authenticate": {s}})
		if err != nil || len(s) > maxChallenge-100 {
			return // quotes may make the string longer than what is read
		}
		if c.Scheme != "basic" && (c.Scheme != "bearer" || c.Realm == "") {
			t.Errorf("%q: got %#v", s, c)
		}
		again, err := ParseChallenge(http.Header{"Www-Authenticate": {c.String()}})
		if err != nil || again != c {
			t.Errorf("%q: got %#v, again %#v, %v", s, c, again, err)
		}
	})
}
