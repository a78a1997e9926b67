package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// connect answers CONNECT: a connection to a registry is answered here, any other goes where it is meant to go.
func (p *proxy) connect(ctx context.Context, w http.ResponseWriter, to target) {
	if p.isIntercepted(to) {
		if conn, err := established(w); err == nil {
			p.answer(conn, to)
		}
		return
	}
	there, err := p.Upstream.connect(ctx, to)
	if err != nil {
		if ctx.Err() == nil {
			p.journal.failed("CONNECT "+to.address(), err)
		}
		http.Error(w, "CONNECT "+to.address()+": "+bounded(err.Error()), http.StatusBadGateway)
		return
	}
	defer there.Close()
	p.journal.saw("CONNECT " + to.address() + " tunnel")
	if here, err := established(w); err == nil {
		defer here.Close()
		p.tunnel(here, there)
	}
}

// established takes a connection over and says that it leads to its target.
func established(w http.ResponseWriter) (net.Conn, error) {
	conn, ahead, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	if _, err = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		conn.Close()
		return nil, err
	}
	if ahead.Reader.Buffered() == 0 {
		return conn, nil // as it is, so that the kernel can copy
	}
	return buffered{conn, ahead.Reader}, nil
}

// tunnel copies both ways until both have ended, or the proxy.
func (p *proxy) tunnel(here, there net.Conn) {
	stop := context.AfterFunc(p.ctx, func() {
		here.Close()
		there.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { copyHalf(there, here) })
	copyHalf(here, there)
	both.Wait()
}

// copyHalf copies one way. What ends on one side ends on the other.
func copyHalf(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	if closeWrite(to) != nil {
		to.Close()
	}
}

// connection is one to a registry: with TLS, or without, where a client asks a proxy for a tunnel to speak plain HTTP.
type connection struct {
	net.Conn
	scheme string
	target target
}

// answer poses as a registry on a connection, and gives it to the server inside.
func (p *proxy) answer(conn net.Conn, to target) {
	ahead := bufio.NewReader(conn)
	_ = conn.SetReadDeadline(time.Now().Add(headerTime)) // a connection that is closed says so below
	stop := context.AfterFunc(p.ctx, func() { conn.Close() })
	first, err := ahead.Peek(1)
	c := connection{buffered{conn, ahead}, "http", to}
	const handshake = 22 // RFC 8446, section 5.1
	if err == nil && first[0] == handshake {
		c, err = p.answerTLS(c)
	}
	_ = conn.SetReadDeadline(time.Time{})
	if !stop() || err != nil || !p.tunnels.hand(c) {
		c.Close()
	}
}

func (p *proxy) answerTLS(c connection) (connection, error) {
	p.handshakes.Add(1)
	defer p.handshakes.Add(-1)
	c.scheme = "https"
	secure := tls.Server(c.Conn, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.ca.leaf(c.target.host) },
	})
	c.Conn = secure
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTime)
	defer cancel()
	err := secure.HandshakeContext(ctx)
	if refusal, ok := errors.AsType[*net.OpError](err); ok && refusal.Op == "remote error" { // an alert; others went away
		p.journal.failed("TLS with the command for "+c.target.urlHost("https"), fmt.Errorf(
			"%w; the command does not trust what SSL_CERT_FILE names: leave its own roots out, or use %s", err, front(c.target.urlHost("https"))))
	}
	return c, err
}

type connectionKey struct{}

// withTarget lets a request know the connection to a registry that it came by. It is for [http.Server.ConnContext].
func withTarget(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

func connectionOf(ctx context.Context) connection { return ctx.Value(connectionKey{}).(connection) }
