package intercept

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nestedoci/nested/internal/leaktest"
)

// TestMain is the command of the tests as well.
func TestMain(m *testing.M) {
	if os.Getenv("INTERCEPT_COMMAND") != "" {
		os.Exit(command(os.Args[1], os.Args[2:]))
	}
	leaktest.Main(m)
}

// command is what the tests run.
func command(name string, arguments []string) int {
	switch name {
	case "get":
		for _, url := range arguments {
			if err := get(url); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
	case "env":
		_ = json.NewEncoder(os.Stdout).Encode(os.Environ())
	case "roots":
		return describeRoots()
	case "exit":
		status, _ := strconv.Atoi(arguments[0])
		return status
	case "copy":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "signals":
		return countSignals()
	case "run":
		return runItself(arguments)
	}
	return 0
}

// runItself runs the command of the tests as nestctl exec does, with the standard files and the terminal of this process.
func runItself(arguments []string) int {
	upstream, err := NewUpstream(os.Environ(), nil)
	if err != nil {
		return 1
	}
	err = Run(Command{append([]string{os.Args[0]}, arguments...), os.Stdin, os.Stdout, os.Stderr},
		Options{Registries: RegistriesIn([]string{"registry.test/x"}), Transport: upstream.Transport(), Upstream: upstream})
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return exit.Status
	}
	return 0
}

// seen is what a client sees of an answer.
type seen struct {
	Status       int
	Body, Issuer string
}

// get asks as Go programs do.
func get(url string) error {
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	s := seen{Status: answer.StatusCode, Body: string(body)}
	if answer.TLS != nil {
		s.Issuer = answer.TLS.PeerCertificates[0].Issuer.CommonName
	}
	_ = json.NewEncoder(os.Stdout).Encode(s)
	return err
}

// describeRoots prints the files that the environment names, their modes, and what is in them.
func describeRoots() int {
	directory := filepath.Dir(os.Getenv("SSL_CERT_FILE"))
	info, err := os.Stat(directory)
	if err != nil {
		return 1
	}
	fmt.Println(directory, info.Mode())
	files, _ := filepath.Glob(filepath.Join(directory, "*"))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		if bytes.Contains(data, []byte("PRIVATE")) {
			return 1
		}
	}
	return 0
}

// countSignals prints how many SIGINTs and SIGHUPs came when SIGALRM comes, and ends by SIGTERM.
func countSignals() int {
	come := make(chan os.Signal, 16)
	signal.Notify(come, syscall.SIGINT, syscall.SIGHUP, syscall.SIGALRM)
	fmt.Println("ready")
	counts := map[os.Signal]int{}
	for sig := range come {
		counts[sig]++
		if sig == syscall.SIGALRM {
			fmt.Println("interrupts", counts[syscall.SIGINT], "hangups", counts[syscall.SIGHUP])
		} else {
			fmt.Println(sig)
		}
	}
	return 0
}

// before is the name of the CA that commands would have trusted.
const before = "before"

// scene has servers at names, and an upstream that finds them.
type scene struct {
	t       testing.TB
	ca      *authority // of their certificates, which the command would have trusted
	environ []string
	mu      sync.Mutex
	at      map[string]string // addresses by name
	dialled []string
}

func newScene(t testing.TB) *scene {
	ca, err := newAuthority(before, []string{"test", "192.0.2.1"}) // and all names below
	noError(t, err)
	file := filepath.Join(t.TempDir(), "before.pem")
	noError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw}), 0o600))
	return &scene{t: t, ca: ca, at: map[string]string{}, environ: []string{
		"INTERCEPT_COMMAND=1", "PATH=" + os.Getenv("PATH"), "SSL_CERT_FILE=" + file, "GORACE=atexit_sleep_ms=0",
	}}
}

// tls lets a server answer at host:port with TLS, with a certificate of an authority.
func (s *scene) tls(ca *authority, address string, handler http.HandlerFunc) {
	host, _, err := net.SplitHostPort(address)
	noError(s.t, err)
	certificate, err := ca.sign(host)
	noError(s.t, err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	server.StartTLS()
	s.t.Cleanup(server.Close)
	s.at[address] = server.Listener.Addr().String()
}

// plain lets one answer without TLS.
func (s *scene) plain(address string, handler http.HandlerFunc) {
	server := httptest.NewServer(handler)
	s.t.Cleanup(server.Close)
	s.at[address] = server.Listener.Addr().String()
}

func (s *scene) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialled = append(s.dialled, address)
	if known := s.at[address]; known != "" {
		return (&net.Dialer{}).DialContext(ctx, network, known)
	}
	return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
}

// options are for registries, with a log of what was asked.
func (s *scene) options(registries ...string) (Options, *lines) {
	upstream, err := NewUpstream(s.environ, s.dial)
	noError(s.t, err)
	through := upstream.Transport()
	s.t.Cleanup(through.CloseIdleConnections)
	var log lines
	o := Options{Transport: through, Upstream: upstream, Asked: log.add, Report: func(line string) { log.add("report: " + line) }}
	for _, text := range registries {
		r, err := ParseRegistry(text)
		noError(s.t, err)
		o.Registries = append(o.Registries, r)
	}
	return o, &log
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(l.all, want) {
		t.Errorf("log:\n%s\nwant:\n%s", strings.Join(l.all, "\n"), strings.Join(want, "\n"))
	}
}

// itself is the test's program as a command.
func itself(t *testing.T, arguments ...string) []string {
	program, err := os.Executable()
	noError(t, err)
	return append([]string{program}, arguments...)
}

// run runs a command and returns what it printed.
func run(t *testing.T, o Options, arguments ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := Run(Command{Arguments: arguments, Stdout: &stdout, Stderr: &stderr}, o)
	if stderr.Len() > 0 {
		t.Log(stderr.String())
	}
	return stdout.String(), err
}

// gets lets a Go client get URLs.
func gets(t *testing.T, o Options, urls ...string) (answers []seen) {
	t.Helper()
	out, err := run(t, o, itself(t, append([]string{"get"}, urls...)...)...)
	noError(t, err)
	for decoder := json.NewDecoder(strings.NewReader(out)); decoder.More(); {
		var s seen
		noError(t, decoder.Decode(&s))
		answers = append(answers, s)
	}
	if len(answers) != len(urls) {
		t.Fatalf("%d answers for %q", len(answers), urls)
	}
	return answers
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says answers with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}
