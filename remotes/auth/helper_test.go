package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// lookupWith asks for reg/a, whose credentials a helper has; auths has one,
// too, which is not to be used when the helper fails.
func lookupWith(ctx context.Context, t *testing.T, helper string, options StoresOptions) (Credential, error) {
	t.Helper()
	options.Inline = Secret(`{"credHelpers":{"reg":"` + helper + `"},"auths":{"reg":` + u1 + `}}`)
	return NewStores(options).Lookup(ctx, repository(t, "reg/a"))
}

func TestHelperAnswers(t *testing.T) {
	t.Parallel()
	answer := func(server, user, value string) helperScript {
		return helperScript{Stdout: fmt.Sprintf(`{"ServerURL":%q,"Username":%q,"Secret":%q}`, server, user, value)}
	}
	after := func(s helperScript, trailer string) helperScript { s.Stdout += trailer; return s }
	found := `, helper docker-credential-TestHelperAnswers-`
	for _, test := range []struct {
		name   string
		script helperScript
		want   string // description, or what the error says
	}{
		{"as-usual", answer("reg", "user", secret), "password user" + found},
		{"with-a-newline", after(answer("reg", "user", secret), "\n"), "password user" + found},
		{"other-spelling", answer("https://reg/v2/", "user", secret), "password user" + found},
		{"no-server", answer("", "user", secret), "password user" + found},
		{"identity-token", answer("reg", "<token>", secret), "identity" + found},
		{"on-stderr-too", helperScript{Stdout: answering.Stdout, Stderr: secret}, "password user" + found},
		{"not-found", notFound, `password u1, DOCKER_AUTH_CONFIG`},

		{"other-server", answer("other", "user", secret), "password user" + found},
		{"other-port", answer("reg:5000", "user", secret), "password user" + found},
		{"neither-user-nor-secret", answer("reg", "", ""), `password u1, DOCKER_AUTH_CONFIG`},
		{"empty-object", helperScript{Stdout: `{}`}, `password u1, DOCKER_AUTH_CONFIG`},
		{"nothing", helperScript{}, "its answer is not JSON"},
		{"garbage", helperScript{Stdout: secret}, "its answer is not JSON"},
		{"trailing-bytes", after(answer("reg", "user", secret), "}"), "its answer is not JSON"},
		{"two-answers", after(answer("reg", "user", secret), answering.Stdout), "its answer is not JSON"},
		{"other-shape", helperScript{Stdout: `["` + secret + `"]`}, "its answer is not a credential"},
		{"other-type", helperScript{Stdout: `{"Username":"user","Secret":{"x":"` + secret + `"}}`}, "its answer is not a credential"},
		{"null", helperScript{Stdout: `null`}, `password u1, DOCKER_AUTH_CONFIG`},
		{"no-user", answer("reg", "", secret), "its answer lacks user name or secret"},
		{"no-secret", answer("reg", "user", ""), "its answer lacks user name or secret"},
		{"empty-token", answer("reg", "<token>", ""), "its answer lacks user name or secret"},
		{"fails", helperScript{Stdout: "password is " + secret, Stderr: secret, Exit: 1}, "it exited with status 1; run it by hand"},
		{"fails-after-an-answer", helperScript{Stdout: answering.Stdout, Exit: 3}, "it exited with status 3"},
		{"almost-not-found", helperScript{Stdout: notFoundMessage + secret, Exit: 1}, "it exited with status 1"},
		{"200-MB", helperScript{Stdout: strings.Repeat(secret, 20000), Repeat: 1500}, "it wrote more than 65536 bytes"},
		{"200-MB-after-an-answer", helperScript{Stdout: answering.Stdout + strings.Repeat(" ", 1<<20), Repeat: 200}, "it wrote more than 65536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			helper := newHelper(t, test.script)
			credential, err := lookupWith(ctx(), t, helper, StoresOptions{})
			noLeak(t, credential)
			var failure *HelperError
			if errors.As(err, &failure) {
				wantError(t, err, "docker-credential-"+helper, `"reg"`, inlineVariable, test.want)
				noLeak(t, failure, *failure)
			} else if got := describe(credential); err != nil || !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q %v, want %q", got, err, test.want)
			}
			if runs := runsOf(t, helper); !slices.Equal(runs, []string{"reg"}) {
				t.Errorf("it was asked for %q", runs)
			}
		})
	}
}

// A helper that is not the one for a host is not started, not even to list.
func TestOtherHelpersStayIdle(t *testing.T) {
	t.Parallel()
	other := newHelper(t, answering)
	inline := `{"credHelpers":{"reg":"` + other + `","reg:5001":"` + other + `","reg:5000":"answers","reg:5000/b":"` + other + `"},"credsStore":"` + other + `"}`
	credential, err := NewStores(StoresOptions{Inline: Secret(inline)}).Lookup(ctx(), repository(t, "reg:5000/a"))
	if err != nil || credential.Anonymous() {
		t.Fatal(credential, err)
	}
	if runs := runsOf(t, other); len(runs) > 0 {
		t.Errorf("the helper of others was asked for %q", runs)
	}
}

func TestHelperProcessGroupEnds(t *testing.T) {
	t.Parallel()
	visitors := newVisitors(t)
	helper := newHelper(t, helperScript{Dial: visitors.address(), Child: true})
	ctx, cancel := context.WithCancel(ctx())
	defer cancel()
	result := make(chan error)
	go func() {
		_, err := lookupWith(ctx, t, helper, StoresOptions{})
		result <- err
	}()

	processes := []visitor{visitors.next(), visitors.next()} // the helper and its child
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for _, p := range processes {
		visitors.gone(p)
	}
}

func TestHelperTimeout(t *testing.T) {
	t.Parallel()
	visitors := newVisitors(t)
	helper := newHelper(t, helperScript{Dial: visitors.address(), Child: true, Stdout: answering.Stdout})
	// Long enough for two processes to start.
	_, err := lookupWith(ctx(), t, helper, StoresOptions{HelperTimeout: 2 * time.Second})
	wantError(t, err, "docker-credential-"+helper, "it did not answer in time; run it by hand: echo SERVER | docker-credential-")
	visitors.gone(visitors.next())
	visitors.gone(visitors.next())
}

// TestHelperLeavesAChild: after a good answer, too, what a helper started ends with it.
func TestHelperLeavesAChild(t *testing.T) {
	t.Parallel()
	visitors := newVisitors(t)
	script := answering
	script.Dial, script.Child = visitors.address(), true
	helper := newHelper(t, script)
	result := make(chan Credential, 1)
	go func() {
		credential, _ := lookupWith(ctx(), t, helper, StoresOptions{})
		result <- credential
	}()
	helperProcess, child := visitors.next(), visitors.next()
	if child.who == "helper" {
		helperProcess, child = child, helperProcess
	}
	_, _ = fmt.Fprintln(helperProcess)
	if credential := <-result; credential.Password != secret {
		t.Errorf("got %v", credential)
	}
	visitors.gone(child)
}

// An agent that the helper leaves behind, in a session of its own as gpg-agent
// is, lives on. It may hold the output open.
func TestHelperLeavesAnAgent(t *testing.T) {
	t.Parallel()
	visitors := newVisitors(t)
	script := answering
	script.Dial, script.Child, script.Agent = visitors.address(), true, true
	helper := newHelper(t, script)
	result := make(chan Credential, 1)
	go func() {
		credential, _ := lookupWith(ctx(), t, helper, StoresOptions{})
		result <- credential
	}()
	helperProcess, agent := visitors.next(), visitors.next()
	if agent.who == "helper" {
		helperProcess, agent = agent, helperProcess
	}
	_, _ = fmt.Fprintln(helperProcess)
	if credential := <-result; credential.Password != secret {
		t.Errorf("got %v", credential)
	}
	_, _ = fmt.Fprintln(agent)
	visitors.gone(agent)
}

func TestHelperSession(t *testing.T) {
	t.Setenv(inlineVariable, secret)
	report := answering
	report.Stdout = strings.Replace(report.Stdout, `"user"`, "REPORT", 1)
	report.Report, report.TTY = true, true
	helper := newHelper(t, report)
	credential, err := lookupWith(ctx(), t, helper, StoresOptions{})
	if want := `leader=true more-stdin=0 inline=""`; err != nil || credential.Username != want {
		t.Errorf("got %q %v, want %q", credential.Username, err, want)
	}
}

func TestHelperIsRefused(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own")
	install := func(mode os.FileMode, name string) string {
		t.Helper()
		dir := filepath.Join(own, name)
		if err := errors.Join(os.MkdirAll(dir, 0o755), installHelper(dir, "refused", answering), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	writable := install(0o777, "writable")
	sticky := install(0o777|os.ModeSticky, "sticky")
	good := install(0o755, "good")
	linked := filepath.Join(own, "linked")
	if err := errors.Join(os.Mkdir(linked, 0o755), os.Symlink(filepath.Join(writable, "docker-credential-refused"), filepath.Join(linked, "docker-credential-refused"))); err != nil {
		t.Fatal(err)
	}
	links := filepath.Join(own, "links") // through a link to a directory
	if err := os.Symlink(linked, links); err != nil {
		t.Fatal(err)
	}
	above := install(0o755, "above/good")
	if err := os.Chmod(filepath.Join(own, "above"), 0o777); err != nil {
		t.Fatal(err)
	}
	aboveSticky := install(0o755, "above-sticky/good")
	if err := os.Chmod(filepath.Join(own, "above-sticky"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(own, "shared") // where a link leads to a directory that is fine
	if err := errors.Join(os.Mkdir(shared, 0o777), os.Chmod(shared, 0o777), os.Symlink(good, filepath.Join(shared, "link"))); err != nil {
		t.Fatal(err)
	}
	through := filepath.Join(own, "through")
	if err := os.Symlink(above, through); err != nil {
		t.Fatal(err)
	}
	file := install(0o755, "file")
	copyHelper(t, file, 0o757)
	plain := install(0o755, "plain")
	copyHelper(t, plain, 0o644)
	t.Chdir(good)

	for _, test := range []struct{ path, helper, want string }{
		{good, "refused", ""},
		{writable, "refused", "can be written by everybody"},
		{sticky, "refused", "can be written by everybody"},
		{file, "refused", "can be written by everybody"},
		{linked, "refused", writable + " can be written by everybody"},
		{links, "refused", writable + " can be written by everybody"},
		{above, "refused", "is in " + filepath.Dir(above) + ", which can be written by everybody"},
		{filepath.Join(shared, "link"), "refused", "is in " + shared + ", which can be written by everybody"},
		{through, "refused", "is in " + filepath.Dir(above) + ", which can be written by everybody"},
		{aboveSticky, "refused", ""},
		{".", "refused", "relative directory in PATH"},
		{"", "refused", "relative directory in PATH"},
		{"../good", "refused", "relative directory in PATH"},
		{own, "refused", "it is not in PATH"},
		{plain, "refused", "is not executable; chmod 755 it"},
		{good, "../../x", "not a helper's name"},
		{good, "a b", "not a helper's name"},
		{good, "x;y", "not a helper's name"},
		{good, "", "not a helper's name"},
		{good, ".", "not a helper's name"},
		{good, "-x", "not a helper's name"},
		{good, `x\ny`, "not a helper's name"},
	} {
		t.Setenv("PATH", test.path+string(os.PathListSeparator)+"/nowhere")
		metrics := new(Metrics)
		credential, err := lookupWith(ctx(), t, test.helper, StoresOptions{Metrics: metrics})
		if test.want == "" {
			if err != nil || metrics.HelperRuns.Load() != 1 || credential.Anonymous() {
				t.Errorf("%s %q: %v %v", test.path, test.helper, credential, err)
			}
			continue
		}
		wantError(t, err, test.want)
		if runs := metrics.HelperRuns.Load(); runs != 0 {
			t.Errorf("%s %q: %d runs", test.path, test.helper, runs)
		}
	}
}

// copyHelper replaces the link to the test binary by a file of that mode,
// which is never to be run.
func copyHelper(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, "docker-credential-refused")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o700), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestHelperServerNames(t *testing.T) {
	t.Parallel()
	helper := newHelper(t, answering)
	h := &helpers{timeout: time.Minute, metrics: new(Metrics)}
	for _, server := range []string{"", "reg\n", "reg\rx", "reg\x00", "re g", "rég", strings.Repeat("x", 70_000)} {
		_, err := h.get(ctx(), "config", helper, server)
		wantError(t, err, "not a server's name")
	}
	if runs := runsOf(t, helper); len(runs) > 0 {
		t.Errorf("it was asked for %q", runs)
	}
}

func TestHelperIsAskedOnce(t *testing.T) {
	t.Parallel()
	visitors := newVisitors(t)
	script := answering
	script.Dial = visitors.address()
	helper := newHelper(t, script)
	metrics := new(Metrics)
	stores := NewStores(StoresOptions{Inline: Secret(`{"credsStore":"` + helper + `"}`), Metrics: metrics})
	var pulls sync.WaitGroup
	for i := range 100 {
		pulls.Go(func() {
			credential, err := stores.Lookup(ctx(), repository(t, fmt.Sprintf("reg/a%d", i)))
			if err != nil || credential.Password != secret {
				t.Errorf("got %v %v", credential, err)
			}
		})
	}
	_, _ = fmt.Fprintln(visitors.next()) // a second run would wait for ever
	pulls.Wait()
	if runs := runsOf(t, helper); len(runs) != 1 || metrics.HelperRuns.Load() != 1 {
		t.Errorf("%d runs, %d counted", len(runs), metrics.HelperRuns.Load())
	}
}

// Only a helper that ended by itself has said that it has nothing.
func TestHelperThatIsKilledHasNotAnswered(t *testing.T) {
	t.Parallel()
	script := "echo credentials not found in native keychain; kill -9 $$"
	_, reason := getFromHelper("helper", "reg", func(_ []string, input io.Reader) ([]byte, string) {
		return executable{path: "/bin/sh", args: []string{"-c", script}, input: input}.execute(ctx(), time.Minute, false)
	})
	if reason != "it was killed" {
		t.Errorf("reason %q", reason)
	}
}
