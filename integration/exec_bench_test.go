package integration

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bareHost is the name of a bare proxy before the registry of [execHost].
const bareHost = "bare.example.com"

// through runs a command through nestctl exec.
const through = "nestctl exec --registry " + execHost + " -- "

// bigExecScene is the scene of a registry that costs nothing.
func bigExecScene(t testing.TB, reg *bigRegistry) *execScene {
	t.Helper()
	needs(t, "linux", "nestctl", "curl")
	s := &execScene{dir: t.TempDir(), proxy: &findingProxy{at: map[string]string{execHost + ":443": reg.host}}}
	server := httptest.NewServer(s.proxy)
	t.Cleanup(server.Close)
	s.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "HTTPS_PROXY=" + server.URL, "SSL_CERT_FILE=" + reg.caFile}
	return s
}

// curl is a command that fetches URLs one after the other, or so many at once, over as few connections as curl needs.
func (s *execScene) curl(t testing.TB, atOnce int, urls ...string) string {
	t.Helper()
	var config strings.Builder
	for _, url := range urls {
		fmt.Fprintf(&config, "url = %q\noutput = \"/dev/null\"\n", url)
	}
	flags := ""
	if atOnce > 1 {
		flags = fmt.Sprintf(" --parallel --parallel-immediate --parallel-max %d", atOnce)
	}
	return "curl --silent --show-error --fail" + flags + " --config " + writeFile(t, filepath.Join(t.TempDir(), "curl"), config.String())
}

// BenchmarkServeExec prints what nestctl exec costs curl, as ratios of one run; see `make bench-serve`. The registry costs
// nothing.
func BenchmarkServeExec(b *testing.B) {
	b.Run("blob/1Gbit", func(b *testing.B) {
		const size = 1 << 30
		reg := startBigRegistry(b, size, gigabit)
		s := bigExecScene(b, reg)
		command := s.curl(b, 1, "https://"+execHost+reg.blob("layer"))
		times := inTurns(b, max(b.N, 3), s.doing(b, command), s.doing(b, through+command))
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(times[0])/float64(times[1]), "throughput-ratio")
		b.ReportMetric(size/1e6/times[0].Seconds(), "direct-MB/s")
		b.ReportMetric(size/1e6/times[1].Seconds(), "exec-MB/s")
	})
	b.Run("manifest", func(b *testing.B) {
		reg := startBigRegistry(b, 1, 0)
		s := bigExecScene(b, reg)
		s.proxy.at[bareHost+":443"] = strings.TrimPrefix(startBareProxy(b, reg), "https://")
		const many = 4000
		path := "/v2/org/app/manifests/" + reg.manifest.String()
		var pulls []func() error
		for _, way := range []struct{ host, prefix string }{{execHost, ""}, {execHost, through}, {bareHost, ""}} {
			for _, n := range []int{1, 1 + many} { // without what a process costs to start
				urls := make([]string, n)
				for i := range urls {
					urls[i] = "https://" + way.host + path
				}
				pulls = append(pulls, s.doing(b, way.prefix+s.curl(b, 1, urls...)))
			}
		}
		times := inTurns(b, max(b.N, 5), pulls...)
		each := func(way int) time.Duration { return (times[2*way+1] - times[2*way]) / many }
		more, bareProxy := each(1)-each(0), each(2)-each(0)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(more.Microseconds()), "µs-more")
		b.ReportMetric(float64(bareProxy.Microseconds()), "µs-more-of-a-bare-proxy")
		b.ReportMetric(float64(more)/float64(bareProxy), "ratio-to-a-bare-proxy")
		b.ReportMetric(float64((times[2] - times[0]).Milliseconds()), "ms-to-start")
	})
}

// doing is what runs a command.
func (s *execScene) doing(t testing.TB, command string) func() error {
	return func() error {
		s.do(t, command)
		return nil
	}
}

// TestExecMemory: a hundred transfers of a layer at once do not make nestctl exec hold more than 64 MiB.
func TestExecMemory(t *testing.T) {
	needs(t, "all")
	reg := startBigRegistry(t, 16<<20, 0)
	s := bigExecScene(t, reg)
	urls := make([]string, 100)
	for i := range urls {
		urls[i] = "https://" + execHost + reg.blob(fmt.Sprint(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	words := strings.Fields(through + s.curl(t, len(urls), urls...))
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	peak, done := make(chan int64), make(chan struct{})
	go func() { peak <- peakMemory(cmd.Process.Pid, done) }()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
	close(done)
	most := <-peak
	if t.Logf("it held %d MiB", most>>20); most > 64<<20 || most == 0 {
		t.Errorf("it held %d MiB", most>>20)
	}
}
