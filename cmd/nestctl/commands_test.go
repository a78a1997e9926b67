package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nestedoci/nested/internal/registrytest"
)

// commands are the commands of scripts beside testscript's:
//
//	status N PROGRAM ARG...     run a program; it must end with that status and print no secret
//	publish BUNDLE...           see bundles; names of content become variables with digests
//	put REPOSITORY TAG FILE     publish an index as it stands in a file
//	spoil DIR                   overwrite the blobs of a layout
//	expand FILE TO              copy a file, with variables replaced
//	allow USER REPOSITORY...    a user, whose password is the secret, or "anonymous"
//	login KEY USER [PASSWORD]   an entry of auths in Docker's configuration
//	helper KEY NAME             an entry of credHelpers; KEY - is credsStore
//	delete REPOSITORY DIGEST    take content out of the registry
//	corrupt REPOSITORY DIGEST   serve other bytes for content, of its size
//	retag REPOSITORY TAG DIGEST move a tag
//	fault ACTION [N] KIND REPOSITORY[@DIGEST] [once]   see cmdFault; fault none ends all, fault deletes lets it delete
//	stalled                     wait until a request stalls
//	partial DIR N               wait until a download in a layout has N bytes
//	requests [KIND...]          print the requests since the last time, sorted
//	json FILE PATH...           print values of a JSON object, structures by their keys
//	layout DIR, archive FILE    check one, and print its names and its content
//	certificate FILE CA         a certificate with its key for localhost, and its CA
//	front ARG...                start nestctl serve at $FRONT; endfront ends it and prints its log
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"status":   cmdStatus,
	"publish":  cmdPublish,
	"put":      cmdPut,
	"expand":   cmdExpand,
	"spoil":    cmdSpoil,
	"allow":    cmdAllow,
	"login":    cmdLogin,
	"helper":   cmdHelper,
	"delete":   cmdDelete,
	"corrupt":  cmdCorrupt,
	"retag":    cmdRetag,
	"fault":    cmdFault,
	"stalled":  cmdStalled,
	"partial":  cmdPartial,
	"requests": cmdRequests,
	"json":     cmdJSON,
	"layout":   cmdLayout,
	"archive":  cmdArchive,

	"certificate": cmdCertificate,
	"front":       cmdFront,
	"endfront":    cmdEndFront,
}

// patience is how long a script waits for what must happen.
const patience = 20 * time.Second

func want(ts *testscript.TestScript, neg bool, args []string, atLeast int) {
	if neg || len(args) < atLeast {
		ts.Fatalf("wrong use; see commands_test.go")
	}
}

func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	wanted, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != wanted {
		ts.Fatalf("exit status %d, want %d", got, wanted)
	}
	checkLeaks(ts, ts.ReadFile("stdout")+ts.ReadFile("stderr"))
}

// checkLeaks fails when an output holds a password or a token.
func checkLeaks(ts *testscript.TestScript, output string) {
	for _, q := range sceneOf(ts).registry.Log(registrytest.WithCredentials) {
		_, token, _ := strings.Cut(q.Authorization, " ")
		if strings.Contains(output, token) {
			ts.Fatalf("the output holds an authorization")
		}
	}
	for _, entry := range sceneOf(ts).config.Auths {
		if strings.Contains(output, entry["auth"]) {
			ts.Fatalf("the output holds an entry of auths")
		}
	}
	if strings.Contains(output, secret) {
		ts.Fatalf("the output holds a secret")
	}
}

func cmdPublish(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1)
	for _, name := range args {
		publish, ok := bundles[name]
		if !ok {
			ts.Fatalf("no bundle %q", name)
		}
		publish(publisher{sceneOf(ts), ts.Setenv})
	}
}

func cmdPut(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3)
	body := os.Expand(strings.TrimSpace(ts.ReadFile(args[2])), ts.Getenv)
	d := sceneOf(ts).registry.Put(args[0], ocispec.MediaTypeImageIndex, []byte(body), args[1])
	publisher{sceneOf(ts), ts.Setenv}.name("put", d)
}

func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

func cmdAllow(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	if args[0] == "anonymous" {
		sceneOf(ts).registry.AllowAnonymous(args[1:]...)
		return
	}
	sceneOf(ts).registry.Allow(args[0], secret, args[1:]...)
}

func cmdLogin(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	config := &sceneOf(ts).config
	config.login(args[0], args[1], append(args, secret)[2])
	ts.Check(config.write())
}

func cmdHelper(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	config := &sceneOf(ts).config
	if args[0] == "-" {
		config.CredsStore = args[1]
	} else {
		config.CredHelpers[args[0]] = args[1]
	}
	ts.Check(config.write())
}

func cmdDelete(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	sceneOf(ts).registry.Delete(args[0], digest.Digest(args[1]))
}

func cmdCorrupt(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	s, d := sceneOf(ts), digest.Digest(args[1])
	body := bytes.Clone(s.bodies[d])
	if manifest := bytes.Replace(body, []byte(`"schemaVersion":2`), []byte(`"schemaVersion":3`), 1); !bytes.Equal(manifest, body) {
		s.registry.PutAs(args[0], ocispec.MediaTypeImageIndex, d, manifest)
		return
	}
	body[0] ^= 1
	s.registry.PutBlobAs(args[0], d, body)
}

func cmdRetag(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3)
	sceneOf(ts).registry.Tag(args[0], args[1], digest.Digest(args[2]))
}

// cmdFault: the actions are "answer STATUS", "head STATUS" for HEAD alone,
// "truncate BYTES", "stall-at BYTES", "reset" and "page", which is one with
// 200. The repository "*" is any.
func cmdFault(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1)
	s := sceneOf(ts)
	switch args[0] {
	case "none":
		s.registry.ResetIntercepts()
		return
	case "deletes":
		s.registry.Intercept(s.registry.Deletes())
		return
	}
	action, n := args[0], 0
	if number, err := strconv.Atoi(args[1]); err == nil {
		n, args = number, args[1:]
	}
	repository, reference, _ := strings.Cut(args[2], "@")
	filters := []registrytest.Filter{registrytest.Of(registrytest.Kind(args[1])), func(q registrytest.Request) bool {
		return (repository == "*" || q.Repository == repository) && (reference == "" || q.Reference == reference)
	}}
	if len(args) > 3 && args[3] == "once" {
		filters = []registrytest.Filter{registrytest.First(1, filters...)}
	}
	switch action {
	case "answer":
		s.registry.Intercept(registrytest.Answer(n, nil, filters...))
	case "head":
		s.registry.Intercept(registrytest.Answer(n, nil, append(filters, registrytest.Method(http.MethodHead))...))
	case "page":
		s.registry.Intercept(registrytest.Say(http.StatusOK, "text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title>", filters...))
	case "truncate":
		s.registry.Intercept(s.registry.Truncate(n, filters...))
	case "reset":
		s.registry.Intercept(registrytest.Reset(filters...))
	case "stall-at":
		s.registry.Intercept(s.noted(s.registry.StallAt(n), filters))
	default:
		ts.Fatalf("no fault %q", action)
	}
}

// noted takes a note of requests before they stall.
func (s *scene) noted(stall registrytest.Interceptor, filters []registrytest.Filter) registrytest.Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		for _, f := range filters {
			if !f(registrytest.Describe(req)) {
				return false
			}
		}
		s.stalled <- struct{}{}
		return stall(w, req)
	}
}

func cmdStalled(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0)
	select {
	case <-sceneOf(ts).stalled:
	case <-time.After(patience):
		ts.Fatalf("no request has stalled")
	}
}

func cmdPartial(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	bytes, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	pattern := filepath.Join(ts.MkAbs(args[0]), "ingest", "*", "data")
	tick, end := time.NewTicker(time.Millisecond), time.After(patience)
	defer tick.Stop()
	for {
		files, err := filepath.Glob(pattern)
		ts.Check(err)
		if slices.ContainsFunc(files, func(f string) bool { info, err := os.Stat(f); return err == nil && info.Size() >= bytes }) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("no download in %s has %d bytes", args[0], bytes)
		}
	}
}

// cmdRequests prints a line for each request, with names for digests. A blob
// that several members share may come from any of them: "*".
func cmdRequests(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0)
	s := sceneOf(ts)
	lines := []string{}
	for _, q := range s.registry.Log() {
		if len(args) == 0 || slices.Contains(args, string(q.Kind)) {
			lines = append(lines, s.describe(q))
		}
	}
	s.registry.ResetLog()
	slices.Sort(lines)
	var out bytes.Buffer
	for _, line := range lines {
		fmt.Fprintln(&out, line)
	}
	_, err := io.Copy(ts.Stdout(), &out)
	ts.Check(err)
}

func (s *scene) describe(q registrytest.Request) string {
	words := []string{q.Method, string(q.Kind)}
	if q.Kind == registrytest.KindToken {
		words = append(words, strings.Join(q.Scopes, "+"))
	} else {
		repository := q.Repository
		if len(s.places[digest.Digest(q.Reference)]) > 1 {
			repository = "*"
		}
		words = append(words, repository, s.called(digest.Digest(q.Reference)))
	}
	if q.Range != "" {
		words = append(words, q.Range)
	}
	words = append(words, strconv.Itoa(q.Status))
	if q.User != "" {
		words = append(words, q.User)
	}
	return strings.Join(words, " ")
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	var object any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &object))
	var out bytes.Buffer
	for _, path := range args[1:] {
		value := object
		for key := range strings.SplitSeq(path, ".") {
			value = value.(map[string]any)[key]
		}
		fmt.Fprintf(&out, "%s %s\n", path, shape(value))
	}
	_, err := io.Copy(ts.Stdout(), &out)
	ts.Check(err)
}

// shape is a value, or the keys of an object, or how many things a list has
// and the shape of the first.
func shape(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return strings.Join(slices.Sorted(maps.Keys(v)), ",")
	case []any:
		return fmt.Sprintf("%d of %s", len(v), shape(v[0]))
	}
	return fmt.Sprint(value)
}
