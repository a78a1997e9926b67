package auth

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"sync"
)

// lines are the connections to hosts of one kind. What takes long to read has a
// connection to itself, over HTTP/1.1. Small requests share one where the
// server speaks HTTP/2: many at once need no handshakes of their own. The
// connections for what is read are bounded; those for what is sent are as many
// as are sent at once, which their user bounds: a body that is sent waits for
// one that is read, and may not be waited for in turn.
type lines struct {
	own, shared, sent *http.Transport
	multiplexed       *sync.Map // host:port of those that have answered over HTTP/2
	unbounded         bool      // see [RegistryOptions.Passing]
}

const (
	// sharedStream bounds what a small answer may have arrived of and is not
	// read yet, sharedConnection that of all on one connection.
	sharedStream     = 1 << 20
	sharedConnection = 16 << 20
	// maxHeader bounds an answer's header: many answers may be kept.
	maxHeader = 256 << 10
)

// DefaultConnections is [RegistryOptions].Connections where it is 0. 20 ms away
// from a registry that speaks HTTP/1.1 alone, a bundle of 20 members comes as
// fast as without a bound (with 36 connections), and faster than with half or
// with three times as many: handshakes cost more than they bring.
const DefaultConnections = 8

func newLines(base *http.Transport, options RegistryOptions) lines {
	base = base.Clone()
	base.MaxResponseHeaderBytes = maxHeader
	l := lines{own: base, shared: base.Clone(), sent: base.Clone(), multiplexed: new(sync.Map), unbounded: options.Passing}
	l.shared.MaxConnsPerHost = cmp.Or(options.Connections, DefaultConnections)
	if !options.Passing {
		l.own.MaxConnsPerHost = l.shared.MaxConnsPerHost
	}
	l.shared.ForceAttemptHTTP2 = true
	l.shared.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: sharedStream, MaxReceiveBufferPerConnection: sharedConnection}
	return l
}

func (l lines) each(change func(*http.Transport)) {
	change(l.own)
	change(l.shared)
	change(l.sent)
}

// forRequest chooses the connections for a request.
func (l lines) forRequest(req *http.Request) *http.Transport {
	ctx := req.Context()
	small := ctx.Value(smallKey{}) != nil
	if paced := ctx.Value(pacedKey{}) != nil; small && paced && l.unbounded {
		_, small = l.multiplexed.Load(dialAddress(req.URL))
	}
	switch {
	case small:
		return l.shared
	case ctx.Value(sendingKey{}) != nil, req.Method != http.MethodGet && req.Method != http.MethodHead:
		return l.sent
	}
	return l.own
}

// answered takes note of how a host answers.
func (l lines) answered(req *http.Request, resp *http.Response) {
	if resp.ProtoMajor == 2 {
		l.multiplexed.Store(dialAddress(req.URL), true)
	}
}

type smallKey struct{}

// Small marks the requests of a context as such whose answers are small.
func Small(ctx context.Context) context.Context { return context.WithValue(ctx, smallKey{}, true) }

type pacedKey struct{}

// Paced marks the requests of a context as those of somebody else, who may take
// their time, and so may the registry for them: with
// [RegistryOptions.Passing] they keep none of the bounded connections.
func Paced(ctx context.Context) context.Context { return context.WithValue(ctx, pacedKey{}, true) }

type sendingKey struct{}

// Sending marks the requests of a context as those of content that is sent.
func Sending(ctx context.Context) context.Context { return context.WithValue(ctx, sendingKey{}, true) }

// maxRest bounds what is read of an answer that is not wanted, so that its
// connection can be used again.
const maxRest = 16 << 10

// unwanted is the body of an answer that is not a success. Those who only look
// at the status close it unread.
type unwanted struct{ io.ReadCloser }

func (b unwanted) Close() error {
	_, _ = io.CopyN(io.Discard, b.ReadCloser, maxRest) // only for the connection's sake
	return b.ReadCloser.Close()
}
