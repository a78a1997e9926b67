package auth

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/nestedoci/nested/internal/scrub"
)

// pools are the connections to hosts of one kind. A large body has a connection
// to itself, over HTTP/1.1. Small requests share one where the server speaks
// HTTP/2: many at once need no handshakes of their own. Connections for reading
// are bounded. Those for sending are not, because their user bounds them: a
// body that is being sent may wait for one that is being read, so that waiting
// for a connection could deadlock.
type pools struct {
	own, shared, sent *http.Transport
	multiplexed       *sync.Map // host:port of hosts that were asked, and whether they have answered over HTTP/2
	unbounded         bool      // see [RegistryOptions.Passing]
}

const (
	// sharedStream bounds what has arrived of a small answer and is not read
	// yet, sharedConnection that of all answers on one connection.
	sharedStream     = 1 << 20
	sharedConnection = 16 << 20
	// passingIdle bounds the connections that are kept for many clients, tens of
	// KiB each. With fewer than there are requests at once, each of more than
	// that many requests begins with a handshake: 500 clients got a tenth of the
	// answers.
	passingIdle = 512
	// maxHeader bounds an answer's header, because many answers may be cached.
	maxHeader = 256 << 10
)

// DefaultConnections is [RegistryOptions].Connections where it is 0. At 20 ms
// from a registry that speaks only HTTP/1.1, a bundle of 20 members is pulled
// as fast as without a bound (with 36 connections), and faster than with half
// or with three times as many: handshakes cost more than they bring.
const DefaultConnections = 8

func newPools(base *http.Transport, options RegistryOptions) pools {
	base = base.Clone()
	base.MaxResponseHeaderBytes = maxHeader
	if base.OnProxyConnectResponse == nil {
		base.OnProxyConnectResponse = scrub.Connect
	}
	l := pools{own: base, shared: base.Clone(), sent: base.Clone(), multiplexed: new(sync.Map), unbounded: options.Passing}
	l.shared.MaxConnsPerHost = cmp.Or(options.Connections, DefaultConnections)
	if !options.Passing {
		l.own.MaxConnsPerHost = l.shared.MaxConnsPerHost
	} else {
		l.own.MaxIdleConns, l.own.MaxIdleConnsPerHost = passingIdle, passingIdle
		l.sent.MaxIdleConns, l.sent.MaxIdleConnsPerHost = passingIdle, passingIdle
	}
	l.shared.ForceAttemptHTTP2 = true
	l.shared.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: sharedStream, MaxReceiveBufferPerConnection: sharedConnection}
	return l
}

func (l pools) each(change func(*http.Transport)) {
	change(l.own)
	change(l.shared)
	change(l.sent)
}

// forRequest chooses the pool for a request. A request that could block a shared
// connection gets one if the host is known to speak HTTP/2. The first request to
// a host gets one, too: it finds out for the others.
func (l pools) forRequest(req *http.Request) *http.Transport {
	ctx := req.Context()
	small := ctx.Value(smallKey{}) != nil
	if paced := ctx.Value(pacedKey{}) != nil; small && paced && l.unbounded {
		multiplexed, asked := l.multiplexed.LoadOrStore(dialAddress(req.URL), false)
		small = !asked || multiplexed == true
	}
	switch {
	case small:
		return l.shared
	case ctx.Value(sendingKey{}) != nil, req.Method != http.MethodGet && req.Method != http.MethodHead:
		return l.sent
	}
	return l.own
}

// answered remembers whether a host speaks HTTP/2.
func (l pools) answered(req *http.Request, resp *http.Response) {
	if resp.ProtoMajor == 2 {
		l.multiplexed.Store(dialAddress(req.URL), true)
	}
}

type smallKey struct{}

// Small marks the requests of a context as having small answers.
func Small(ctx context.Context) context.Context { return context.WithValue(ctx, smallKey{}, true) }

type pacedKey struct{}

// Paced marks the requests of a context as made for another client, which may
// read slowly and so slow down the registry's answer: with
// [RegistryOptions.Passing] they occupy none of the bounded connections.
func Paced(ctx context.Context) context.Context { return context.WithValue(ctx, pacedKey{}, true) }

type sendingKey struct{}

// Sending marks the requests of a context as those that send content.
func Sending(ctx context.Context) context.Context { return context.WithValue(ctx, sendingKey{}, true) }

// maxRest bounds what is read of an unwanted answer so that its connection can
// be reused.
const maxRest = 16 << 10

// unwanted is the body of an answer that is not a success. Callers that only
// look at the status close it unread.
type unwanted struct{ io.ReadCloser }

func (b unwanted) Close() error {
	_, _ = io.CopyN(io.Discard, b.ReadCloser, maxRest) // so that the connection can be reused
	return b.ReadCloser.Close()
}
