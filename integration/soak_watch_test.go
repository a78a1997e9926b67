package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// watch measures daemons.
type watch struct {
	soak    *soak
	steady  bool // nobody kills them any more
	daemons []watched
}

// watched is a daemon and what was measured of it while nobody killed any.
type watched struct {
	name       string
	pid        func() int
	goroutines func() (int, error)
	samples    []sampled
}

type sampled struct{ memory, goroutines, threads, files int }

func (s *soak) watch() *watch {
	metric := regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)
	profile := regexp.MustCompile(`^goroutine profile: total (\d+)`)
	gateway := func(i int) func() (int, error) {
		return func() (int, error) { return scrape(http.DefaultTransport, "http://"+s.observed[i]+"/metrics", metric) }
	}
	daemon := func(c *containerd) func() (int, error) {
		transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(c.dir, "debug"))
		}}
		return func() (int, error) { return scrape(transport, "http://debug/debug/pprof/goroutine?debug=1", profile) }
	}
	return &watch{soak: s, daemons: []watched{
		{name: "gateway, node", pid: func() int { return s.node.cmd.Process.Pid }, goroutines: gateway(0)},
		{name: "gateway, pod", pid: func() int { return s.pod.cmd.Process.Pid }, goroutines: gateway(1)},
		{name: "containerd", pid: func() int { return s.stock.program.cmd.Process.Pid }, goroutines: daemon(s.stock)},
		{name: "containerd-nested", pid: func() int { return s.nested.program.cmd.Process.Pid }, goroutines: daemon(s.nested)},
	}}
}

// scrape asks for a page and reads the number that the pattern has a group for.
func scrape(transport http.RoundTripper, url string, number *regexp.Regexp) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	found := number.FindSubmatch(body)
	if leaks(string(body)) || found == nil {
		return 0, fmt.Errorf("%s shows a secret, or not what it should", url)
	}
	return strconv.Atoi(string(found[1]))
}

// sample looks at daemons, argument lists and the registry's log.
func (w *watch) sample(t *testing.T) {
	t.Helper()
	for i := range w.daemons {
		d := &w.daemons[i]
		one, err := measure(d.pid())
		if err == nil {
			one.goroutines, err = d.goroutines()
		}
		if err != nil {
			w.soak.fail("%s: %v", d.name, err)
		} else if w.steady {
			d.samples = append(d.samples, one)
		}
	}
	w.soak.checkArguments()
	for _, r := range w.soak.requests() {
		inside := slices.ContainsFunc(w.soak.bundles, func(b *soakBundle) bool {
			return r.Repository == b.repository || strings.HasPrefix(r.Repository, b.repository+"/")
		})
		if !inside && r.Kind != "base" && r.Kind != supportPath {
			w.soak.fail("the registry was asked for %+v", r)
		}
	}
	w.soak.tokens.requests() // so that the log does not grow
}

// measure reads what the kernel says about a process.
func measure(pid int) (sampled, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return sampled{}, err
	}
	var one sampled
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "VmRSS:":
			one.memory, err = strconv.Atoi(fields[1])
		case "Threads:":
			one.threads, err = strconv.Atoi(fields[1])
		}
		if err != nil {
			return sampled{}, err
		}
	}
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	one.files = len(files)
	return one, err
}

// checkArguments looks for secrets in the arguments of what runs. ctr gets one from this test.
func (s *soak) checkArguments() {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, path := range lines {
		line, err := os.ReadFile(path)
		name, _, _ := bytes.Cut(line, []byte{0})
		if err == nil && filepath.Base(string(name)) != "ctr" && bytes.Contains(line, []byte("canary of ")) {
			s.fail("a secret in the arguments of %s", name)
		}
	}
}

// flat compares the last quarter of the samples with the first. There is room for connections that nobody uses any more:
// containerd has new ones for each pull, which close half a minute later.
func (d *watched) flat() (rows []string, growth error) {
	quarter := len(d.samples) / 4
	if quarter == 0 {
		return nil, fmt.Errorf("%s: too few samples", d.name)
	}
	for _, what := range []struct {
		name  string
		value func(sampled) int
		room  int // beyond half as much again
	}{
		{"memory, KiB", func(s sampled) int { return s.memory }, 32 << 10},
		{"goroutines", func(s sampled) int { return s.goroutines }, 150},
		{"threads", func(s sampled) int { return s.threads }, 20},
		{"files", func(s sampled) int { return s.files }, 100},
	} {
		first, last := medianOf(d.samples[:quarter], what.value), medianOf(d.samples[len(d.samples)-quarter:], what.value)
		rows = append(rows, fmt.Sprintf("%s\t%s\t%d\t%d", d.name, what.name, first, last))
		if last > first*3/2+what.room {
			growth = errors.Join(growth, fmt.Errorf("%s: %s grow from %d to %d", d.name, what.name, first, last))
		}
	}
	return rows, growth
}

func medianOf(samples []sampled, value func(sampled) int) int {
	values := make([]int, len(samples))
	for i, s := range samples {
		values[i] = value(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// finish looks at what is left of it all, prints the figures, and fails the test for what was wrong.
func (s *soak) finish(t *testing.T, w *watch) {
	t.Helper()
	for i := range w.daemons {
		if _, err := w.daemons[i].flat(); err != nil {
			s.fail("%v", err)
		}
	}
	s.checkStores()
	s.checkSecrets(t)
	report := s.report(w)
	t.Logf("\n%s", report)
	s.save(t, report)
	if len(s.failures) > 0 {
		t.Errorf("%d failures", len(s.failures))
	}
}

// report are the figures so far.
func (s *soak) report(w *watch) string {
	requests, counts := s.program.figures()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%d requests, faults: %v\n%d daemons killed, %d tags moved\n\n", s.title, requests, counts, s.deaths, s.retags)
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "door\tpulls\tat the first attempt\tattempts\tmost attempts\tin vain, something was killed\tlongest\tdenied")
	for _, name := range slices.Sorted(maps.Keys(s.figures)) {
		f := s.figures[name]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%d\n", name, f.pulls, f.first, f.attempts, f.most, f.disturbed, f.longest.Round(10*time.Millisecond), f.denied)
	}
	fmt.Fprintln(table, "\ndaemon\tmedian of\tfirst quarter\tlast quarter")
	for i := range w.daemons {
		if rows, _ := w.daemons[i].flat(); len(rows) > 0 { // what it says of growth is told at the end
			fmt.Fprintln(table, strings.Join(rows, "\n"))
		}
	}
	_ = table.Flush() // into memory
	for _, failure := range s.failures {
		fmt.Fprintf(&out, "\nFAILURE %s\n", failure)
	}
	return out.String()
}

// save keeps the figures, also of a soak that does not come to its end.
func (s *soak) save(t *testing.T, report string) {
	t.Helper()
	if dir := os.Getenv("SOAK_DIR"); dir != "" {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("soak-%d.txt", s.seed)), []byte(report), 0o644))
	}
}

// checkStores looks whether every blob of the daemons is what its name says.
func (s *soak) checkStores() {
	for _, c := range []*containerd{s.stock, s.nested, s.cri.containerd} {
		if err := spoilt(filepath.Join(c.dir, "root", "io.containerd.content.v1.content", "blobs", "sha256")); err != nil {
			s.fail("containerd: %v", err)
		}
	}
	if n := s.program.leaked.Load(); n > 0 {
		s.fail("%d requests to the storage had credentials", n)
	}
}

// spoilt names the blobs of a directory whose bytes are not those of their names.
func spoilt(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		file, openErr := os.Open(filepath.Join(dir, e.Name()))
		if errors.Is(openErr, fs.ErrNotExist) {
			continue // collected meanwhile
		}
		hash := sha256.New()
		_, copyErr := io.Copy(hash, file)
		if got := hex.EncodeToString(hash.Sum(nil)); got != e.Name() {
			err = errors.Join(err, fmt.Errorf("%s holds %s", e.Name(), got))
		}
		err = errors.Join(err, openErr, copyErr, file.Close())
	}
	return err
}

// checkSecrets looks for secrets in logs and in what the daemons keep.
func (s *soak) checkSecrets(t *testing.T) {
	t.Helper()
	files := append(slices.Clone(s.logs), filesBelow(t, s.node.root+"/state")...)
	files = append(files, filesBelow(t, s.pod.root+"/state")...)
	for _, c := range []*containerd{s.stock, s.nested, s.cri.containerd} {
		files = append(files, filepath.Join(c.dir, "root", "io.containerd.metadata.v1.bolt", "meta.db"))
	}
	size := int64(0)
	for _, path := range files {
		file, err := os.Open(path)
		must(t, err)
		for lines := bufio.NewReaderSize(file, 1<<20); err == nil; {
			var line []byte
			line, err = lines.ReadSlice('\n')
			size += int64(len(line))
			if leaks(string(line)) || jwt.Match(line) {
				s.fail("a secret in %s: %.300q", path, line)
				break
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				err = nil
			}
		}
		must(t, file.Close())
	}
	t.Logf("looked for secrets in %d files, %d KiB", len(files), size>>10)
}

// jwt is what all tokens of the token server begin with.
var jwt = regexp.MustCompile(`eyJhbGciOi[\w-]+\.`)

func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}))
	return files
}
