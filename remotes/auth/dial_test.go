package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nestedoci/nested/internal/reach"
)

// countedListener counts the connections that were made to it, whatever becomes of them.
func countedListener(t *testing.T) (address string, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	listener := must[net.Listener](t)(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String(), connections
}

// resolverTo resolves all names to one address, without a network.
func resolverTo(t *testing.T, ip [4]byte) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for answerDNS(server, ip) == nil {
			}
		}()
		return client, nil
	}}
}

// answerDNS answers one question, framed as over TCP.
func answerDNS(conn net.Conn, ip [4]byte) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	asked := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, asked); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(asked); err != nil {
		return err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: ip}}}
	}
	answer, err := m.AppendPack(make([]byte, 2, 512))
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
	_, err = conn.Write(answer)
	return err
}

// TestJudgedBeforeConnecting: a name that leads inside gets no connection: as token endpoint, by redirect, for an
// upload. What the dialer's owner controls is controlled still.
func TestJudgedBeforeConnecting(t *testing.T) {
	t.Parallel()
	address, connections := countedListener(t)
	_, port, _ := net.SplitHostPort(address)
	target := "http://inside.test:" + port
	errOwner := errors.New("the owner's")
	for _, owner := range []net.Dialer{
		{}, // of nobody: the name is inside
		{ControlContext: func(context.Context, string, string, syscall.RawConn) error { return errOwner }},
		{Control: func(string, string, syscall.RawConn) error { return errOwner }},
	} {
		inside := owner.Control == nil && owner.ControlContext == nil
		dialer := &owner
		dialer.Resolver = resolverTo(t, [4]byte{127, 0, 0, 1})
		server := newRecorder(t, redirectTo(target))
		registry := NewRegistry("http", "reg.test", publicAt("reg.test", server.URL), &heldCredentials{}, RegistryOptions{Dialer: dialer})
		if !inside {
			registry.transport.observe(reach.Public)
			listed := []string{"inside.test"}
			registry.transport.realms, registry.guarded.realms, registry.endpoint.realms = listed, listed, listed
		}
		check := func(err error) {
			t.Helper()
			if inside {
				wantError(t, err, "refused to connect to inside.test:"+port)
			} else if !errors.Is(err, errOwner) {
				t.Errorf("the owner of the dialer was not asked: %v", err)
			}
		}
		check(get(t, registry, "http://reg.test/blob"))
		key := keyFor(withPassword)
		key.realm = target
		_, err := registry.tokens.get(atOnce(ctx()), key)
		check(err)
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPut, target, strings.NewReader("content")))
		resp, err := clientOf(registry).Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		check(err)
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestMostPublicAddress: what a registry may lead to is told by the most public address at which it was reached,
// whatever the order.
func TestMostPublicAddress(t *testing.T) {
	t.Parallel()
	for _, at := range [][]string{{"93.184.216.34:443", "10.0.0.1:443", "127.0.0.1:443"}, {"127.0.0.1:443", "10.0.0.1:443", "93.184.216.34:443"}} {
		registry := newRegistry(t, "https://reg.test", RegistryOptions{})
		for _, a := range at {
			if err := registry.transport.judge(a, "reg.test:443"); err != nil {
				t.Fatal(err)
			}
		}
		for _, inside := range []string{"10.0.0.1:443", "[::ffff:10.0.0.1]:443", "127.0.0.1:443"} {
			if err := registry.guarded.judge(inside, "auth.test:443"); err == nil {
				t.Errorf("reached at %s: lets its token endpoint be at %s", at, inside)
			}
		}
	}
}

// TestBehindProxy: of what goes through a proxy, the URL's host is judged in every spelling, and the proxy is not.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	proxy := newRecorder(t, ok)
	base := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }}
	registry := NewRegistry("http", "reg.test", base, &heldCredentials{}, RegistryOptions{})
	if err := get(t, registry, "http://reg.test/blob"); err != nil {
		t.Fatal(err)
	}
	for _, host := range strings.Fields("127.1 0x7f.1 0177.0.0.1 2130706433 127.0.0.1. 169.254.169.254. 0xa9fea9fe localhost localhost. a.localhost " +
		"[::1] [::ffff:127.0.0.1] [fe80::1%25eth0] [64:ff9b::a9fe:a9fe] １２７.0.0.1 １２７。１ 169.254.169.254 127.0.0.1:" + proxy.Listener.Addr().(*net.TCPAddr).AddrPort().String()[len("127.0.0.1:"):]) {
		wantError(t, get(t, registry, "http://"+host+"/blob"), "refused to connect to")
	}
	if got := proxy.got(); len(got) != 1 || got[0].Host != "reg.test" {
		t.Errorf("the proxy got %d requests", len(got))
	}
}

// TestProxyIsNoHost: a registry that leads to the host and port of the proxy, past it, is judged as others are.
func TestProxyIsNoHost(t *testing.T) {
	t.Parallel()
	address, connections := countedListener(t)
	_, port, _ := net.SplitHostPort(address)
	proxy := "http://proxy.test:" + port
	asked := 0
	for name, proxied := range map[string]func(host string) bool{
		"past it":                   func(host string) bool { return host != "proxy.test" },
		"past it, at the last look": func(host string) bool { asked++; return host != "inside.test" || asked%2 == 1 },
	} {
		target := map[bool]string{true: proxy, false: "http://inside.test:" + port}[name == "past it"]
		base := &http.Transport{Proxy: func(req *http.Request) (*url.URL, error) {
			if !proxied(req.URL.Hostname()) {
				return nil, nil
			}
			return url.Parse(proxy)
		}}
		registry := NewRegistry("http", "reg.test", base, &heldCredentials{}, RegistryOptions{Dialer: &net.Dialer{Resolver: resolverTo(t, [4]byte{127, 0, 0, 1})}})
		registry.transport.observe(reach.Public)
		wantError(t, get(t, registry, target+"/admin"), "refused to connect to "+strings.TrimPrefix(target, "http://"))
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}
