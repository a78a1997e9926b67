package progress

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/terminaltest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// patience is how long a test waits for what must be drawn.
const patience = 20 * time.Second

func node(t *testing.T, repository, name, mediaType string, size int64, children ...*bundle.Node) *bundle.Node {
	t.Helper()
	ref, err := auth.ParseReference("registry.example.com/" + repository + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	n := &bundle.Node{Repository: ref.Repository(), Children: children}
	n.Descriptor = ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(name), Size: size}
	return n
}

// seen waits for words on the screen, and returns what else is there.
func seen(t *testing.T, terminal *terminaltest.Terminal, words ...string) (screen string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		screen, _ = terminal.Seen()
		missing := ""
		for _, word := range words {
			if !strings.Contains(screen, word) {
				missing = word
			}
		}
		if missing == "" {
			return screen
		}
	}
	t.Fatalf("never all of %q on the screen, which has\n%s", words, screen)
	return ""
}

// TestProgressOnTerminal: on a terminal there is a bar that counts bytes, below what is on its way of each member, in
// the width that the terminal has; lines of others stay above it; and nothing of it is left.
func TestProgressOnTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	terminal := terminaltest.Open(t, 100)
	p := New(terminal.File, false, false)
	layer := node(t, "org/app/web", "layer", ocispec.MediaTypeImageLayerGzip, 2<<20)
	other := node(t, "org/app/worker", "other", ocispec.MediaTypeImageLayerGzip, 1<<20)
	web := node(t, "org/app/web", "web", ocispec.MediaTypeImageManifest, 0, layer)
	worker := node(t, "org/app/worker", "worker", ocispec.MediaTypeImageManifest, 0, other)
	p.Expand(&bundle.Node{Children: []*bundle.Node{web, worker}})
	p.Expand(web)
	p.End(web)
	p.Begin(layer).Read.Add(1 << 20)
	screen := seen(t, terminal, "0 members", "org/app/web  1.0 MiB of 2.0 MiB", "1.0 MiB of at least 2.0 MiB")
	if lines := strings.Split(screen, "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "0 members  [") {
		t.Errorf("the screen has\n%s", screen)
	}

	p.Expand(worker)
	p.End(worker)
	p.Begin(other)
	p.Member(&bundle.Node{})
	if _, err := p.Write([]byte("warning: something\n")); err != nil {
		t.Error(err)
	}
	seen(t, terminal, "warning: something\n", "1 member", "org/app/web     1.0 MiB of 2.0 MiB", "org/app/worker  0 B of 1.0 MiB", "1.0 MiB of 3.0 MiB")
	p.End(other)
	seen(t, terminal, "2.0 MiB of 3.0 MiB")

	terminal.Resize(t, 40)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		_, output := terminal.Seen()
		frames := strings.Split(strings.ReplaceAll(output, "\r", ""), "\x1b[J")
		if last := frames[len(frames)-2]; strings.Count(last, "\n") == 2 && !regexp.MustCompile(`.{41}`).MatchString(last) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still drawn as before: %q", frames[len(frames)-2])
		}
	}
	p.Stop()
	screen, output := terminal.Seen()
	for deadline := time.Now().Add(patience); screen != "warning: something" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		screen, output = terminal.Seen()
	}
	if screen != "warning: something" {
		t.Errorf("left on the screen:\n%s", screen)
	}
	if strings.Contains(output, "\x1b[?") {
		t.Errorf("modes of the terminal are changed: %q", output)
	}
}

// TestProgressOnDumbTerminal: what cannot draw gets lines, as a log does.
func TestProgressOnDumbTerminal(t *testing.T) {
	t.Setenv("TERM", "dumb")
	terminal := terminaltest.Open(t, 200)
	p := New(terminal.File, false, false)
	p.Expand(&bundle.Node{})
	if counter := p.Begin(&bundle.Node{}); counter != nil {
		t.Error("bytes are counted for nobody")
	}
	n := node(t, "org/app/web", "web", ocispec.MediaTypeImageManifest, 1)
	p.Member(n)
	p.Stop()
	if screen := seen(t, terminal, "org/app/web"); screen != "registry.example.com/org/app/web "+n.Digest.String() {
		t.Errorf("the screen has %q", screen)
	}
}

// TestChecksOnTerminal: a check counts parts, and says whether those are all.
func TestChecksOnTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	terminal := terminaltest.Open(t, 100)
	c := NewChecks(terminal.File, false)
	c.Expect(2, false)
	c.Checked()
	seen(t, terminal, "1 of at least 2 parts")
	c.Expect(3, true)
	c.Checked()
	seen(t, terminal, "2 of 5 parts")
	c.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if screen, _ := terminal.Seen(); screen == "" {
			return
		}
	}
	t.Error("something is left on the screen")
}
