package integration

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/integration/bench"
)

// BenchmarkCopy compares the copy of a bundle of 20 members between two registries, each 20 ms away, with what other
// tools need for the same content as a plain index in one repository: the medians of copies of one run that take turns.
func BenchmarkCopy(b *testing.B) {
	needs(b, "crane", "oras", "regctl")
	bundle := newCopyFleet(b, baseLayer(b))
	src, dst := farAway(b)
	src.pushNode(b, "org/app", "v1", bundle)
	src.pushNode(b, "org/app", "plain", newIndex(b, nodesOf(bundle)...))
	config := dockerConfig(b, nil, nil)
	client := newNestctl(b, config)
	plain := src.ref("org/app", "plain")
	compareCopies(b, src, dst, []copier{
		{name: "nestctl", copy: func(to string) {
			client.run(b, "copy", "--plain-http", "--quiet", src.ref("org/app", "v1"), to)
		}},
		{name: "regctl", copy: tool(b, config, "regctl", "image", "copy", "--host", "reg="+src.host+",tls=disabled", "--host", "reg="+dst.host+",tls=disabled", plain)},
		{name: "oras", copy: tool(b, config, "oras", "cp", "--from-plain-http", "--to-plain-http", plain)},
		{name: "crane", copy: tool(b, config, "crane", "copy", "--insecure", plain)},
	})
}

// BenchmarkCopySources compares index create --copy of 20 images with scripts that copy them, eight at a time, and make
// no index: xargs -P 8 crane copy. The registries are each 20 ms away.
func BenchmarkCopySources(b *testing.B) {
	needs(b, "crane", "oras", "regctl", "skopeo")
	src, dst := farAway(b)
	var names, sources []string
	for _, m := range newCopyFleet(b, baseLayer(b)).members {
		src.pushNode(b, "team/"+m.namespace, "v1", m.node)
		names, sources = append(names, m.namespace), append(sources, src.ref("team/"+m.namespace, "v1"))
	}
	config := dockerConfig(b, nil, nil)
	client := newNestctl(b, config)
	script := func(name string, more string, args ...string) copier {
		return copier{name: name, copy: func(to string) {
			repository, _, _ := strings.Cut(strings.TrimPrefix(to, dst.host+"/"), ":")
			var group errgroup.Group
			group.SetLimit(8)
			for i, child := range names {
				group.Go(func() error {
					tool(b, config, name, append(args[:len(args):len(args)], more+sources[i])...)(more + dst.ref(repository+"/"+child, "v1"))
					return nil
				})
			}
			must(b, group.Wait())
		}}
	}
	compareCopies(b, src, dst, []copier{
		{name: "nestctl", copy: func(to string) {
			client.run(b, append([]string{"index", "create", "--plain-http", "--copy", to}, sources...)...)
		}},
		script("regctl", "", "image", "copy", "--host", "reg="+src.host+",tls=disabled", "--host", "reg="+dst.host+",tls=disabled"),
		script("oras", "", "cp", "--from-plain-http", "--to-plain-http"),
		script("crane", "", "copy", "--insecure"),
		script("skopeo", "docker://", "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"),
	})
}

// farAway are two registries, each 20 ms away. They want no tokens: crane takes none from a server on loopback.
func farAway(b *testing.B) (src, dst *registry) {
	b.Helper()
	var link bench.Link
	link.Set(bench.Speed{RoundTrip: 20 * time.Millisecond})
	away := func(s *httptest.Server) {
		s.Listener = link.Listener(s.Listener)
		s.Start()
	}
	return registryOptions{serve: away}.start(b, nil), registryOptions{serve: away}.start(b, nil)
}

// copier is a program that copies the content of a benchmark to a reference.
type copier struct {
	name    string
	prepare func(to string) // what is not measured, or nil
	copy    func(to string)
}

// compareCopies reports the medians of copies that take turns, and what the first of each has asked for and sent.
func compareCopies(b *testing.B, src, dst *registry, tools []copier) {
	b.Helper()
	times := make([][]time.Duration, len(tools))
	rounds, round := 5, 0
	if *roundsFlag > 0 {
		rounds = *roundsFlag
	}
	for b.Loop() {
		for range rounds {
			round++
			for i, tool := range tools {
				to := dst.ref(fmt.Sprintf("%s/%d/app", tool.name, round), "v1")
				if tool.prepare != nil {
					tool.prepare(to)
				}
				src.requests()
				dst.requests()
				began := time.Now()
				tool.copy(to)
				times[i] = append(times[i], time.Since(began))
				if round == 1 {
					report(b, tool.name, src.requests(), dst.requests())
				}
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, tool := range tools {
		b.ReportMetric(median(times[i]).Seconds(), "s-"+tool.name)
		if i > 0 {
			b.ReportMetric(float64(median(times[0]))/float64(median(times[i])), "ratio-to-"+tool.name)
		}
	}
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// tool is a command that copies to what is its last argument.
func tool(b *testing.B, config, name string, args ...string) func(string) {
	return func(to string) {
		b.Helper()
		cmd := exec.CommandContext(b.Context(), name, append(args[:len(args):len(args)], to)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + config, "DOCKER_CONFIG=" + config}
		runCommand(b, cmd)
	}
}

// report prints what a copy has asked for and sent.
func report(b *testing.B, name string, src, dst []request) {
	b.Helper()
	var received, sent int64
	for _, line := range src {
		received += line.Bytes
	}
	for _, line := range dst {
		sent += line.Sent
	}
	b.ReportMetric(float64(len(src)+len(dst)), "requests-"+name)
	b.ReportMetric(float64(received)/(1<<20), "MiB-received-"+name)
	b.ReportMetric(float64(sent)/(1<<20), "MiB-sent-"+name)
}

// newCopyFleet is a bundle of 20 images with a base layer that all share and one of their own.
func newCopyFleet(b *testing.B, base layer) node {
	b.Helper()
	var fleet []member
	for i := range members {
		fleet = append(fleet, newFleetMember(b, fmt.Sprintf("m%02d", i), base))
	}
	return newBundle(b, fleet...)
}

func newFleetMember(b *testing.B, name string, base layer) member {
	b.Helper()
	return member{name, newImage(b, amd64, name, base, newLayer(b, "own", randomBlob("", 1<<17).data))}
}
