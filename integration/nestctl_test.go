package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Exit codes of nestctl.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitDenied
	exitNotFound
	exitInvalid
)

// nestctl runs the program with an environment of the test's own.
type nestctl struct {
	env []string
}

// newNestctl uses the Docker configuration in a directory; further variables may follow.
func newNestctl(t testing.TB, dockerConfig string, env ...string) nestctl {
	t.Helper()
	needs(t, "nestctl")
	fixed := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "DOCKER_CONFIG=" + dockerConfig}
	return nestctl{append(fixed, env...)}
}

// outcome is what a run of nestctl came to.
type outcome struct {
	stdout, stderr string
	code           int
}

func (n nestctl) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nestctl", args...)
	cmd.Env = n.env
	return cmd
}

func (n nestctl) try(t testing.TB, args ...string) outcome {
	t.Helper()
	cmd := n.command(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run expects success.
func (n nestctl) run(t testing.TB, args ...string) outcome {
	t.Helper()
	got := n.try(t, args...)
	if got.code != exitOK {
		t.Fatalf("nestctl %s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got
}

// fails expects an exit code and words on stderr, and that nothing secret was said.
func (n nestctl) fails(t testing.TB, code int, words []string, args ...string) {
	t.Helper()
	got := n.try(t, args...)
	if got.code != code {
		t.Errorf("nestctl %s: exit code %d, want %d", strings.Join(args, " "), got.code, code)
	}
	for _, word := range words {
		if !strings.Contains(got.stderr, word) {
			t.Errorf("stderr has no %q", word)
		}
	}
	if !slices.ContainsFunc(strings.Split(got.stderr, "\n"), func(line string) bool { return strings.HasPrefix(line, "nestctl: ") }) {
		t.Error("no line of stderr begins with nestctl:")
	}
	if leaks(got.stdout + got.stderr) {
		t.Error("a secret was shown")
	}
	if t.Failed() {
		t.Logf("stdout and stderr:\n%s%s", got.stdout, got.stderr)
	}
}

var base64Text = regexp.MustCompile(`[A-Za-z0-9+/]{12,}`)

// leaks reports whether the text holds one of the tests' secrets, as it is or in base64.
func leaks(text string) bool {
	for _, word := range base64Text.FindAllString(text, -1) {
		plain, _ := base64.RawStdEncoding.DecodeString(word[:len(word)/4*4]) // other text, mostly
		text += string(plain)
	}
	return strings.Contains(text, "canary")
}

// summary is what `nestctl pull --format json` prints.
type summary struct {
	Root struct {
		Ref, Digest, MediaType string
		Size                   int64
	}
	Members  []summaryMember
	Requests struct{ Manifests, Blobs, Tokens, Challenges, HelperRuns int }
	Bytes    int64
	Seconds  float64
	Target   string
}

type summaryMember struct {
	Namespace, Repository, Digest, MediaType string
	Platform                                 any
	Size                                     int64
}

func (o outcome) summary(t testing.TB) summary {
	t.Helper()
	var s summary
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	return s
}

// pull are the arguments of a pull into the daemon.
func (c *containerd) pull(ref string, more ...string) []string {
	args := []string{"pull", "--plain-http", "--address", c.address, "--namespace", c.namespace, ref}
	return append(args, more...)
}
