package integration

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakUser may pull everything but what nobody may.
var soakUser = login{"user of all", "canary of all"}

const (
	soakShare    = 0.1 // of requests that meet with a fault
	soakAttempts = 6   // after which a pull that nobody disturbed has to have succeeded
)

// soak is a registry that fails at random, and all doors to it.
type soak struct {
	*registry
	certsD         string // for those who ask it themselves
	seed           uint64
	title          string // of its figures
	program        *faults
	client         nestctl
	stock, nested  *containerd
	cri            *cri
	node, pod      *gatewayProcess
	observed       [2]string // where the gateways show their metrics
	follows        http.RoundTripper
	front          string // host:port
	nodeDies       mortal
	podDies        mortal
	stockDies      mortal
	nestedDies     mortal
	random         *rand.Rand // of the main goroutine
	mu             sync.Mutex
	bundles        []*soakBundle
	figures        map[string]*soakFigures // by door
	deaths, retags int
	failures       []string
	logs           []string // of all that was started
}

// soakBundle is a tag that may move.
type soakBundle struct {
	repository string
	denied     string // the repository that nobody may pull
	next       func(version int) node
	version    int
}

// soakFigures are what came of the pulls through a door.
type soakFigures struct {
	pulls, first, denied, disturbed int
	attempts, most                  int
	longest                         time.Duration
}

// TestSoak pulls for a while through all doors, several at a time, from a registry that fails at random, while gateways
// and daemons are killed, tags move and garbage is collected. oras, through exec's transport and through a front, also pushes
// what it has pulled. SOAK is how long, SOAK_SEED repeats a run's decisions, and
// SOAK_DIR is where its figures are kept.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("SOAK"), "20s"))
	must(t, err)
	workers, err := strconv.Atoi(cmp.Or(os.Getenv("SOAK_PULLS"), "2"))
	must(t, err)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SOAK_SEED"), fmt.Sprint(time.Now().UnixNano()%1_000_000)), 10, 64)
	must(t, err)
	t.Logf("SOAK=%s SOAK_PULLS=%d SOAK_SEED=%d", length, workers, seed)
	s := startSoak(t, seed)
	s.title = fmt.Sprintf("length %s, %d pulls at a time, seed %d, %.0f %% of requests meet with a fault", length, workers, seed, 100*soakShare)
	watch := s.watch()

	s.program.set(soakShare)
	var pulls sync.WaitGroup
	over := make(chan struct{})
	end := sync.OnceFunc(func() { close(over); pulls.Wait() })
	defer end()
	for i := range workers {
		doors, random := s.doorsOf(t, i), rand.New(rand.NewPCG(seed, uint64(i)+10))
		pulls.Go(func() { s.work(doors, random, over) })
	}
	s.disturb(t, watch, length)
	end()
	s.program.set(0)
	s.pullAll(t)
	watch.sample(t)
	s.finish(t, watch)
}

// startSoak starts all that there is. Nothing fails yet.
func startSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	s := &soak{seed: seed, program: newFaults(seed), random: rand.New(rand.NewPCG(seed, 2)), figures: map[string]*soakFigures{}}
	s.makeBundles(t)
	var rights []string
	for _, b := range s.bundles {
		for _, repository := range repositories(b.repository, b.next(0)) {
			if repository != b.denied {
				rights = append(rights, repository)
			}
		}
	}
	all, logins := userPerRepository(rights...), map[string]login{}
	all[soakUser.username] = user{password: soakUser.password, rights: pulls(rights...)}
	for _, b := range s.bundles {
		maps.Copy(all[soakUser.username].rights, pushes(b.repository))
		maps.Copy(all[loginOf(b.repository).username].rights, pushes(b.repository))
	}
	tokens := serveTokens(t, all, s.program.serve)
	s.program.realm = tokens.realm
	s.registry = registryOptions{serve: s.program.serve}.start(t, tokens)
	s.caFile = writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), s.ca) // of all that httptest starts
	t.Setenv("SSL_CERT_FILE", s.caFile)
	s.certsD = s.hosts(t)
	s.program.startStorage(t, s.registry)
	for _, repository := range rights {
		logins[s.host+"/"+repository] = loginOf(repository)
	}
	for _, b := range s.bundles {
		s.pushNode(t, b.repository, "v1", b.next(0))
	}

	s.startClients(t, logins)
	s.client = newNestctl(t, dockerConfig(t, logins, nil))
	debug := func(dir string) string {
		return soakDaemon + fmt.Sprintf("[plugins.\"io.containerd.server.v1.debug\"]\naddress = %q\n", filepath.Join(dir, "debug"))
	}
	s.stock = startDaemon(t, newest, debug, criPlugins...)
	s.nested = startDaemon(t, inside, func(dir string) string { return debug(dir) + pluginSection(t, logins) }, criPlugins...)
	a := &app{registry: s.registry, logins: logins}
	s.node, s.observed[0] = startObserved(t, a, "node")
	s.pod, s.observed[1] = startObserved(t, a, "pod")
	s.cri = startCRI(t, criOptions{certsD: s.node.certsD, more: soakDaemon})
	s.noteLogs()
	return s
}

// noteLogs remembers the logs of what runs.
func (s *soak) noteLogs() {
	for _, p := range []*process{s.node.process, s.pod.process, s.stock.program, s.nested.program, s.cri.program} {
		if !slices.Contains(s.logs, p.log) {
			s.logs = append(s.logs, p.log)
		}
	}
}

// soakDaemon lets a daemon say all it can, and collect garbage as often as it can.
const soakDaemon = "[debug]\nlevel = \"debug\"\n" + collecting

// startObserved starts a gateway that shows metrics, and says all it can.
func startObserved(t *testing.T, a *app, mode string) (*gatewayProcess, string) {
	t.Helper()
	g := startGateway(t, a, mode)
	g.stop(t)
	address := freeAddress(t)
	writeFile(t, g.config, readText(t, g.config)+fmt.Sprintf("metrics_address = %q\n[log]\nlevel = \"debug\"\n", address))
	g.boot(t)
	return g, address
}

// makeBundles makes bundles that share layers, one of three levels, one with a large layer, one that nobody may pull.
func (s *soak) makeBundles(t *testing.T) {
	t.Helper()
	base, large := baseLayer(t), newLayer(t, "large", randomBlob("", 6<<20).data)
	image := func(name string, version int, layers ...layer) node {
		return newImage(t, amd64, fmt.Sprintf("%s %d\n", name, version), append([]layer{base}, layers...)...)
	}
	same := func(n node) func(int) node { return func(int) node { return n } }
	s.bundles = []*soakBundle{
		{repository: "org/app", next: func(v int) node {
			return newBundle(t, member{"web", newIndex(t, image("web", v), newImage(t, arm64, fmt.Sprintf("arm %d\n", v), base))}, member{"worker", image("worker", v)})
		}},
		{repository: "org/deep", next: func(v int) node {
			inner := newBundle(t, member{"db", image("db", v)}, member{"cache", image("cache", v)})
			return newBundle(t, member{"group", newBundle(t, member{"api", image("api", v)}, member{"store", inner})}, member{"top", image("top", v)})
		}},
		{repository: "org/large", next: same(newBundle(t, member{"data", image("data", 0, large)}, member{"copy", image("copy", 0, large)}))},
		{repository: "org/closed", denied: "org/closed/secret", next: same(newBundle(t, member{"secret", image("secret", 0)}, member{"open", image("open", 0)}))},
	}
}

// work pulls until it is over.
func (s *soak) work(doors []*soakDoor, random *rand.Rand, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		d, b := doors[random.IntN(len(doors))], s.bundles[random.IntN(len(s.bundles))]
		s.pullOnce(d, b, soakAttempts)
		if random.IntN(4) > 0 {
			s.undisturbed(d, "remove", func() error { return d.remove(s.ref(b.repository, "v1")) })
		}
	}
}

// pullOnce pulls until it has succeeded, or until nothing but the program of faults has made it fail so many times.
func (s *soak) pullOnce(d *soakDoor, b *soakBundle, attempts int) {
	ref, began := s.ref(b.repository, "v1"), time.Now()
	disturbed := 0
	for attempt := 1; ; attempt++ {
		deaths := d.calm()
		said, err := d.pull(ref)
		if leaks(strings.ReplaceAll(said, soakUser.username, "")) {
			s.fail("%s: a secret was shown: %s", d.name, said)
		}
		switch {
		case b.denied != "" && err == nil:
			s.fail("%s: %s was pulled, of which a member is closed\n%s", d.name, ref, said)
			fallthrough
		case b.denied != "" && (attempts > 1 || strings.Contains(said, b.denied)):
			s.count(d, func(f *soakFigures) { f.denied++ })
			return
		case err == nil:
			s.undisturbed(d, "check", func() error { return d.check(ref) })
			s.count(d, func(f *soakFigures) { f.succeeded(attempt, disturbed, time.Since(began)) })
			return
		case !strings.Contains(said, b.repository) && !strings.Contains(said, "unexpected commit digest sha256:") && d.calm() == deaths:
			s.fail("%s: attempt %d: the error does not name %s: %s", d.name, attempt, b.repository, said)
		}
		if d.calm() != deaths {
			attempt--
			disturbed++
		}
		if attempt >= attempts {
			s.fail("%s: %s: attempt %d of %d: %v\n%s", d.name, ref, attempt, attempts, err, said)
			return
		}
	}
}

func (f *soakFigures) succeeded(attempts, disturbed int, took time.Duration) {
	f.pulls++
	f.attempts += attempts
	f.disturbed += disturbed
	f.most = max(f.most, attempts)
	f.longest = max(f.longest, took)
	if attempts == 1 && disturbed == 0 {
		f.first++
	}
}

// undisturbed does something that may fail only when one of the daemons is killed meanwhile.
func (s *soak) undisturbed(d *soakDoor, what string, do func() error) {
	for {
		deaths := d.calm()
		err := do()
		if err == nil {
			return
		}
		if d.calm() == deaths {
			s.fail("%s: %s: %v", d.name, what, err)
			return
		}
	}
}

func (s *soak) count(d *soakDoor, change func(*soakFigures)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.figures[d.name] == nil {
		s.figures[d.name] = &soakFigures{}
	}
	change(s.figures[d.name])
}

// fail notes what is wrong. The soak goes on.
func (s *soak) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf("%s "+format, append([]any{time.Now().Format(time.TimeOnly)}, args...)...))
}

// disturb kills daemons in the first third of the time, so that it can be seen in the rest whether they grow, and moves
// tags and collects garbage all the time.
func (s *soak) disturb(t *testing.T, watch *watch, length time.Duration) {
	t.Helper()
	began, tick := time.Now(), time.NewTicker(min(max(length/300, 250*time.Millisecond), 5*time.Second))
	defer tick.Stop()
	pause := min(length/20, 20*time.Second) // between two disturbances
	last := began
	for now := range tick.C {
		if now.Sub(began) >= length {
			return
		}
		rough := now.Sub(began) < length/3
		watch.steady = !rough
		watch.sample(t)
		if now.Sub(last) < pause {
			continue
		}
		last = now
		s.save(t, s.report(watch))
		switch n := s.random.IntN(8); {
		case n < 4 && rough:
			s.kill(t, n)
		case n < 6:
			s.retag(t)
		default:
			_ = s.stock.command(t, "content", "prune", "references", "--async").Run() // it may be gone
		}
	}
}

func (s *soak) kill(t *testing.T, which int) {
	t.Helper()
	s.deaths++
	defer s.noteLogs()
	switch which {
	case 0:
		must(t, s.nodeDies.die(s.node.process, func() { s.node.boot(t) }))
	case 1:
		must(t, s.podDies.die(s.pod.process, func() { s.pod.boot(t) }))
	case 2:
		must(t, s.stockDies.die(s.stock.program, func() { s.stock.boot(t) }))
	case 3:
		must(t, s.nestedDies.die(s.nested.program, func() { s.nested.boot(t) }))
	}
}

// retag moves the tag of a bundle to a new version.
func (s *soak) retag(t *testing.T) {
	t.Helper()
	s.retags++
	b := s.bundles[s.random.IntN(2)]
	b.version++
	s.pushNode(t, b.repository, "v1", b.next(b.version))
}

// pullAll pulls everything through every door when nothing fails any more.
func (s *soak) pullAll(t *testing.T) {
	t.Helper()
	for _, d := range s.doorsOf(t, 0) {
		for _, b := range s.bundles {
			s.pullOnce(d, b, 1)
		}
	}
}
