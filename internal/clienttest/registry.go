package clienttest

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
)

// logged is all that was logged, at the most talkative.
var logged registrytest.Output

// askedDNS counts questions to name servers. There is no test that needs an answer.
var askedDNS atomic.Int64

// Main runs the tests of a package, which [Judge] what they asked for and logged, and exits.
func Main(m leaktest.M) {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		askedDNS.Add(1) // for a name that is not in the hosts file
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}}
	log.L.Logger.SetOutput(&logged) // containerd logs each request
	log.L.Logger.SetLevel(logrus.DebugLevel)
	leaktest.Main(m)
}

// Judge fails, when the test ends, when a password came to anything but the token
// service of its registry, a token anywhere else than to the repository that it is
// for, a request for another repository than the parents' and those below them, one
// of the secrets to the log since now, or anything to a name server. The package's
// tests run in [Main].
func Judge(t testing.TB, r *registrytest.Registry, parents, passwords []string) {
	judge(t, r, registrytest.NewLedger(parents...), passwords)
}

// JudgeWrites is [Judge] for clients that push, mount and delete, and log in.
func JudgeWrites(t testing.TB, r *registrytest.Registry, parents, passwords []string) {
	l := registrytest.NewLedger(parents...)
	l.Writes()
	judge(t, r, l, passwords)
}

func judge(t testing.TB, r *registrytest.Registry, l *registrytest.Ledger, passwords []string) {
	start, before := logged.Len(), askedDNS.Load()
	t.Cleanup(func() {
		l.Expect(r)
		for _, password := range passwords {
			l.Show(password, r, registrytest.Of(registrytest.KindToken))
		}
		for _, breach := range l.Breaches() {
			t.Error(breach)
		}
		if n := askedDNS.Load() - before; n > 0 {
			t.Errorf("DNS was asked %d times", n)
		}
		text := logged.Since(start)
		for _, shown := range l.Shown(text) {
			t.Errorf("the log shows %s: %s", shown, around(text, shown))
		}
	})
}

// NewRegistry starts a registry that ends with the test, after a look at
// every request it got.
func NewRegistry(t testing.TB, options ...registrytest.Option) *registrytest.Registry {
	t.Helper()
	reg := registrytest.New(options...)
	t.Cleanup(reg.Close)
	t.Cleanup(func() {
		for _, q := range reg.Log() {
			if q.Kind == registrytest.KindToken && len(q.Scopes) != 1 {
				t.Errorf("a token request with scopes %q", q.Scopes)
			}
			if q.Kind == registrytest.KindOther {
				t.Errorf("a request that no registry knows: %s", q)
			}
		}
	})
	return reg
}

// NewPublicRegistry starts a registry that wants tokens, which anybody gets.
func NewPublicRegistry(t testing.TB) *registrytest.Registry {
	t.Helper()
	reg := NewRegistry(t, registrytest.WithTokenAuth())
	reg.AllowAnonymous("*")
	return reg
}

// NewPrivateRegistry starts a registry that wants tokens, which the user all gets
// with the password secret, and returns that credential, too. What is asked of the
// registry is judged: see [Judge].
func NewPrivateRegistry(t testing.TB, parents []string, options ...registrytest.Option) (*registrytest.Registry, auth.Source) {
	t.Helper()
	reg := NewRegistry(t, append([]registrytest.Option{registrytest.WithTokenAuth()}, options...)...)
	reg.Allow("all", "secret", "*")
	Judge(t, reg, parents, []string{"secret"})
	return reg, UserPassword(t, reg.Host(), "all", "secret")
}

// around is the first line of a text that holds a word as it is.
func around(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return "encoded"
}
