package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	socks "golang.org/x/net/proxy"

	"github.com/nestedoci/nested/internal/scrub"
)

// connect opens a connection to a target, through the proxy that was set before where it was one for it.
func (u *Upstream) connect(ctx context.Context, to target) (net.Conn, error) {
	through, err := u.proxy(&url.URL{Scheme: "https", Host: to.urlHost("https")})
	switch {
	case err != nil:
		return nil, err
	case through == nil:
		return u.dial(ctx, "tcp", to.address())
	case strings.HasPrefix(through.Scheme, "socks"):
		dialer, err := socks.FromURL(through, dialer(u.dial))
		if err != nil {
			return nil, err
		}
		return dialer.(socks.ContextDialer).DialContext(ctx, "tcp", to.address())
	}
	return u.connectThrough(ctx, through, to)
}

// dialer is a Dial in the terms of package proxy.
type dialer Dial

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

// connectThrough asks an HTTP proxy for a connection to a target; RFC 9110, section 9.3.6.
func (u *Upstream) connectThrough(ctx context.Context, through *url.URL, to target) (net.Conn, error) {
	proxy := targetOf(through.Scheme, through.Host)
	conn, err := u.dial(ctx, "tcp", proxy.address())
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", through.Host, err)
	}
	if through.Scheme == "https" {
		conn = tls.Client(conn, u.tls(proxy.host))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	opened, err := askProxy(conn, through.User, to)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", through.Host, err)
	}
	return opened, nil
}

// askProxy sends CONNECT and reads the answer.
func askProxy(conn net.Conn, user *url.Userinfo, to target) (net.Conn, error) {
	header := ""
	if user != nil {
		password, _ := user.Password()
		header = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", to.address(), header); err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: conn, N: maxHeader}
	buffer := bufio.NewReader(bounded)
	answer, err := http.ReadResponse(buffer, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // its body is the connection
	if err != nil {
		return nil, fmt.Errorf("no answer to CONNECT: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New("it refuses to connect: " + scrub.Status(answer.StatusCode))
	}
	bounded.N = 1<<63 - 1 // what follows is the target's
	return buffered{conn, buffer}, nil
}

// buffered is a connection of which something has been read ahead.
type buffered struct {
	net.Conn
	ahead *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.ahead.Read(p) }

// CloseWrite ends what is sent.
func (b buffered) CloseWrite() error { return closeWrite(b.Conn) }

// closeWrite ends what is sent to a connection, and all of it where there is no half.
func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return conn.Close()
}
