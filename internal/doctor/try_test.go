package doctor

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nestedoci/nested/config"
)

// TestTryWaitsForTheGateway that is just starting, but not for ever.
func TestTryWaitsForTheGateway(t *testing.T) {
	for name, test := range map[string]struct {
		bad  int64 // answers before the gateway is there
		want string
	}{
		"at once":          {0, ""},
		"after an attempt": {1, ""},
		"never":            {1000, "another process than the gateway listens on "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			n := newMachine(t, nil)
			o := installOn("reg.test")
			o.Address = n.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) <= test.bad {
					w.WriteHeader(http.StatusTeapot)
					return
				}
				answerAsGateway(w, r)
			}))
			n.install(o)
			var got strings.Builder
			found, err := Try(t.Context(), Options{Root: n.Root, Config: config.Path}, func(p Problem) { got.WriteString(p.String()) })
			n.Must(err)
			if found != (test.want != "") || !strings.Contains(got.String(), test.want) || !found && got.Len() > 0 {
				t.Errorf("found %t: %s", found, &got)
			}
		})
	}
}
