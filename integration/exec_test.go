package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Names that the certificates of httptest are for. Nobody can resolve them here.
const (
	execHost   = "registry.example.com"
	execTokens = "auth.example.com" // no registry, so that exec does not look at it
)

// execScene is a registry over TLS that only a proxy finds, and a user's clients, directly or through nestctl exec.
type execScene struct {
	registry *registry
	tokens   *tokenServer // asked by the registry's clients if it is distribution's
	proxy    *findingProxy
	dir      string
	env      []string
	serves   bool // clients ask a front on the network instead
}

func newExecScene(t testing.TB, o registryOptions, users map[string]user, logins map[string]login) *execScene {
	t.Helper()
	needs(t, "linux", "nestctl", "crane", "oras", "regctl")
	if o.serve == nil {
		o.serve = (*httptest.Server).StartTLS
	}
	tokens := serveTokens(t, users, o.serve)
	tokensAt := strings.TrimSuffix(strings.TrimPrefix(tokens.realm, "https://"), "/token")
	tokens.realm = "https://" + execTokens + "/token"
	s := &execScene{tokens: tokens, dir: t.TempDir()}
	s.registry = s.start(t, o)
	s.proxy = &findingProxy{at: map[string]string{execHost + ":443": s.registry.host, execTokens + ":443": tokensAt}}
	server := httptest.NewServer(s.proxy)
	t.Cleanup(server.Close)
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "DOCKER_CONFIG=" + dockerConfig(t, logins, nil),
		"HTTPS_PROXY=" + server.URL, "SSL_CERT_FILE=" + writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), s.registry.ca),
	}
	writeFile(t, filepath.Join(s.dir, "layer.tgz"), string(newLayer(t, "message", []byte("hello\n")).data))
	writeFile(t, filepath.Join(s.dir, "hello.rpm"), string(randomBlob("", 3<<20).data))
	return s
}

// start starts a registry over TLS; only distribution's wants tokens.
func (s *execScene) start(t testing.TB, o registryOptions) *registry {
	t.Helper()
	if o.serve == nil {
		o.serve = (*httptest.Server).StartTLS
	}
	if o.kind != distribution {
		return o.start(t, nil)
	}
	return o.start(t, s.tokens)
}

// plainExecScene has one user, who may do everything below org/bare and org/exec.
func plainExecScene(t *testing.T) *execScene {
	t.Helper()
	who := login{"robot", "s3cret"}
	rights := pushes("org/bare/image", "org/bare/copy", "org/bare/artifact", "org/exec/image", "org/exec/copy", "org/exec/artifact")
	return newExecScene(t, registryOptions{}, map[string]user{who.username: {password: who.password, rights: rights}}, map[string]login{execHost: who})
}

// run runs a client, and returns what it printed and what the registry was asked, both sorted: clients do several things
// at once. Repositories org/exec/… are called as those of the direct way, which are as long.
func (s *execScene) run(t *testing.T, command string, prefix ...string) (out, log []string) {
	t.Helper()
	words := append(prefix, strings.Fields(command)...)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out = strings.Split(strings.ReplaceAll(runCommand(t, cmd), "org/exec/", "org/bare/"), "\n")
	for _, r := range s.registry.requests() {
		if r.Kind == "uploads" {
			r.Reference = "" // of the registry's choice
		}
		log = append(log, strings.ReplaceAll(fmt.Sprintf("%+v", r), "org/exec/", "org/bare/"))
	}
	slices.Sort(out)
	slices.Sort(log)
	return out, log
}

// findingProxy is a proxy that alone knows where hosts are.
type findingProxy struct {
	mu    sync.Mutex
	at    map[string]string
	asked []string
}

// know lets the proxy find a host from now on.
func (p *findingProxy) know(host, at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[host] = at
}

func (p *findingProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	at := p.at[r.Host]
	p.mu.Unlock()
	there, err := net.Dial("tcp", at)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	var both sync.WaitGroup
	both.Go(func() { pour(there, here) })
	pour(here, there)
	both.Wait()
}

// pour copies one way, and ends the other end's.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.(*net.TCPConn).CloseWrite()
}

// TestExecPlain: plain content passes unchanged. Through nestctl exec, crane, oras and regctl ask the registry for what
// they ask it for directly, and print the same; nothing else is written.
func TestExecPlain(t *testing.T) {
	s := plainExecScene(t)
	const repository = execHost + "/org/PLACE/"
	for _, command := range []string{
		"crane append --new_layer layer.tgz --new_tag " + repository + "image:v1",
		"crane digest " + repository + "image:v1",
		"crane pull " + repository + "image:v1 PLACE.tar",
		"crane copy " + repository + "image:v1 " + repository + "copy:crane",
		"crane ls " + repository + "image",
		"oras push --no-tty --annotation org.opencontainers.image.created=2026-11-30T00:00:00Z --artifact-type application/vnd.test.rpm " + repository + "artifact:v1 hello.rpm:application/x-rpm",
		"oras pull --no-tty -o PLACE " + repository + "artifact:v1",
		"oras cp --no-tty -r " + repository + "artifact:v1 " + repository + "copy:oras",
		"oras manifest fetch " + repository + "copy:oras",
		"regctl image copy " + repository + "image:v1 " + repository + "copy:regctl",
		"regctl manifest get --format raw-body " + repository + "copy:regctl",
	} {
		direct, asked := s.run(t, strings.ReplaceAll(command, "PLACE", "bare"))
		through, askedThrough := s.run(t, strings.ReplaceAll(command, "PLACE", "exec"), "nestctl", "exec", "--")
		if !slices.Equal(through, direct) {
			t.Errorf("%s: %q, directly %q", command, through, direct)
		}
		missing, more := differences(asked, askedThrough)
		more = slices.DeleteFunc(more, func(line string) bool { // what bundles could have is looked for
			return strings.HasPrefix(line, "{Method:GET ") || strings.HasPrefix(line, "{Method:HEAD ")
		})
		if len(missing)+len(more) > 0 || len(asked) == 0 {
			t.Errorf("%s: not asked for\n%s\nbut for\n%s", command, strings.Join(missing, "\n"), strings.Join(more, "\n"))
		}
	}
	for _, file := range []string{"%s.tar", "%s/hello.rpm"} { // crane's archive has the image's name in it
		direct, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf(file, "bare")))
		must(t, err)
		through, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf(file, "exec")))
		must(t, err)
		if file != "%s.tar" && string(through) != string(direct) || len(through) != len(direct) {
			t.Errorf("%s: %d bytes, directly %d", file, len(through), len(direct))
		}
	}
	for _, asked := range s.proxy.asked {
		if asked != "CONNECT "+execHost+":443" && asked != "CONNECT "+execTokens+":443" {
			t.Errorf("the proxy was asked to %s", asked)
		}
	}
}

// differences are the lines of one log that are not in another, and the other way round.
func differences(one, other []string) (missing, more []string) {
	more = slices.Clone(other)
	for _, line := range one {
		if i := slices.Index(more, line); i >= 0 {
			more = slices.Delete(more, i, i+1)
		} else {
			missing = append(missing, line)
		}
	}
	return missing, more
}

// TestExecUntrusted: exec does not vouch for a registry that its user does not trust.
func TestExecUntrusted(t *testing.T) {
	needs(t, "all")
	s := plainExecScene(t)
	s.env = append(s.env, "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR=/nowhere")
	for _, command := range []string{"crane digest --insecure ", "oras manifest fetch --insecure ", "regctl manifest get "} {
		got := nestctl{s.env}.try(t, append([]string{"exec", "--"}, strings.Fields(command+execHost+"/org/exec/image:v1")...)...)
		last := strings.TrimSpace(got.stderr)
		last = last[strings.LastIndexByte(last, '\n')+1:]
		if got.code != 1 || !strings.HasPrefix(last, "nestctl: GET https://"+execHost+"/v2/") && !strings.HasPrefix(last, "nestctl: HEAD https://"+execHost+"/v2/") ||
			!strings.Contains(last, "the certificate of "+execHost+" is not trusted") {
			t.Errorf("%s: status %d, %s", command, got.code, got.stderr)
		}
	}
	if asked := s.registry.requests(); len(asked) > 0 {
		t.Errorf("the registry was asked for %v", asked)
	}
}
