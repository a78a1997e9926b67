package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// bareProxy names, in a process's environment, the URL before which it is to be a proxy and nothing else.
const bareProxy = "TEST_BARE_PROXY"

// untrusting is for a measurement, in which certificates are not what is measured, nor what a proxy loses that keeps two
// connections only.
var untrusting = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000} //nolint:gosec // see above

// serveBareProxy is net/http's own reverse proxy, with TLS on both sides, until its standard input ends.
func serveBareProxy(target string) {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	proxy := &httputil.ReverseProxy{Transport: untrusting, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	server := httptest.NewTLSServer(proxy)
	fmt.Println(server.URL)
	_, _ = io.Copy(io.Discard, os.Stdin) // whoever started it has ended
}

// startBareProxy starts what a gateway that does nothing would cost, and returns its URL.
func startBareProxy(b *testing.B, reg *bigRegistry) string {
	b.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(b.Context()), os.Args[0]) // ended below
	cmd.Env = append(os.Environ(), bareProxy+"=https://"+reg.host)
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	b.Cleanup(func() {
		_ = in.Close() // ends it
		must(b, cmd.Wait())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	must(b, err)
	return strings.TrimSpace(line)
}
