package auth

import (
	"context"
	"io"
	"net/http"
)

// lines are the connections to hosts of one kind. What takes long has a
// connection to itself, over HTTP/1.1. Brief requests share one where the
// server speaks HTTP/2: many at once need no handshakes of their own.
type lines struct{ own, shared *http.Transport }

const (
	// sharedStream bounds what a brief answer may have arrived of and is not
	// read yet, sharedConnection that of all on one connection.
	sharedStream     = 1 << 20
	sharedConnection = 16 << 20
	// maxHeader bounds an answer's header: many answers may be kept.
	maxHeader = 256 << 10
)

func newLines(base *http.Transport) lines {
	base = base.Clone()
	base.MaxResponseHeaderBytes = maxHeader
	l := lines{base, base.Clone()}
	l.shared.ForceAttemptHTTP2 = true
	l.shared.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: sharedStream, MaxReceiveBufferPerConnection: sharedConnection}
	return l
}

func (l lines) each(change func(*http.Transport)) {
	change(l.own)
	change(l.shared)
}

func (l lines) forRequest(req *http.Request) *http.Transport {
	if req.Context().Value(briefKey{}) != nil {
		return l.shared
	}
	return l.own
}

type briefKey struct{}

// Brief marks the requests of a context as such whose answers are small.
func Brief(ctx context.Context) context.Context { return context.WithValue(ctx, briefKey{}, true) }

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
