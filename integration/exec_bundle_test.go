package integration

import (
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newBundleScene is a scene of a bundle at org/app each of whose repositories has a user of its own. That of org/app may
// push, also to org/copy, and see what is below that; it is the one whom the clients know. nestctl knows the others, too.
func newBundleScene(t *testing.T, strict bool, bundle node) *execScene {
	t.Helper()
	users, logins := userPerRepository(repositories("org/app", bundle)...), map[string]login{execHost: loginOf("org/app")}
	for _, repository := range repositories("org/app", bundle) {
		logins[execHost+"/"+repository] = loginOf(repository)
	}
	rights := pulls(repositories("org/copy", bundle)...)
	maps.Copy(rights, pushes("org/app", "org/copy"))
	users[loginOf("org/app").username] = user{password: loginOf("org/app").password, rights: rights}
	return newExecScene(t, registryOptions{strict: strict}, users, logins)
}

// exec runs a client through nestctl exec, or whatever the scene has in its place, and returns what it printed.
func (s *execScene) exec(t testing.TB, command string) string {
	t.Helper()
	if s.serves {
		return s.do(t, strings.ReplaceAll(command, execHost, serveHost))
	}
	return s.do(t, "nestctl exec -- "+command)
}

// do runs a command with further variables.
func (s *execScene) do(t testing.TB, command string, env ...string) string {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir, cmd.Env = s.dir, append(slices.Clone(s.env), env...)
	return runCommand(t, cmd)
}

// TestExecBundle: through nestctl exec, crane, oras, regctl and skopeo pull a bundle each of whose repositories has a user of its
// own, and read its index as it was pushed: by a publisher to a registry that takes it as it is, or by oras through
// nestctl exec to one that checks. By hand it is what image-spec issue 1217 says does not work.
func TestExecBundle(t *testing.T) {
	needs(t, "all", "skopeo")
	for name, publish := range publications {
		t.Run(name, func(t *testing.T) {
			s, bundle := publish(t, false)
			s.checkPulls(t, bundle)
			s.checkTokens(t)
			s.checkGateway(t, bundle)
		})
	}
}

// publications are the ways in which a bundle comes to the registry of a scene, whose clients ask a front before it or
// run in nestctl exec.
var publications = map[string]func(t *testing.T, serves bool) (*execScene, node){
	"as it is":               publishedAsItIs,
	"pushed":                 publishedByOras,
	"by hand, an annotation": func(t *testing.T, serves bool) (*execScene, node) { return publishedByHand(t, serves, false) },
	"by hand, a property":    func(t *testing.T, serves bool) (*execScene, node) { return publishedByHand(t, serves, true) },
}

// follow puts a front before the registry if there is to be one.
func (s *execScene) follow(t *testing.T, serves bool, bundle node) {
	t.Helper()
	if serves {
		s.behindServe(t, bundle)
	}
}

func publishedAsItIs(t *testing.T, serves bool) (*execScene, node) {
	bundle := newApp(t)
	s := newBundleScene(t, false, bundle)
	s.follow(t, serves, bundle)
	publishAt(t, s.registry, bundle)
	return s, bundle
}

func publishedByOras(t *testing.T, serves bool) (*execScene, node) {
	bundle := newApp(t)
	s := newBundleScene(t, true, bundle)
	s.follow(t, serves, bundle)
	for _, m := range bundle.members {
		s.registry.pushNode(t, "org/app/"+m.namespace, "latest", m.node)
	}
	writeFile(t, filepath.Join(s.dir, "index.json"), string(bundle.data))
	s.exec(t, "oras manifest push --media-type "+bundle.desc.MediaType+" "+execHost+"/org/app:v1 index.json")
	return s, bundle
}

// publishedByHand pushes an artifact to a child repository with a client that knows its user alone, and an index that
// names it with the annotation or with the property.
func publishedByHand(t *testing.T, serves, property bool) (*execScene, node) {
	bundle := node{members: []member{{namespace: "nested"}}}
	s := newBundleScene(t, true, bundle)
	publisher := loginOf("org/app/nested")
	s.registry.tokens.know(publisher.username, user{password: publisher.password, rights: pushes("org/app/nested")})
	pushed := s.do(t, "oras push --no-tty --artifact-type application/vnd.test.rpm --format json "+execHost+"/org/app/nested:manifest hello.rpm:application/x-rpm",
		"DOCKER_CONFIG="+dockerConfig(t, map[string]login{execHost: publisher}, nil))
	nested := &bundle.members[0].node
	must(t, json.Unmarshal([]byte(pushed), &nested.desc))
	nested.blobs = []content{newContent("application/x-rpm", []byte(readText(t, filepath.Join(s.dir, "hello.rpm"))))}

	entry := map[string]any{"mediaType": nested.desc.MediaType, "digest": nested.desc.Digest, "size": nested.desc.Size, "artifactType": "application/vnd.test.rpm"}
	if property {
		entry["namespace"] = "nested"
	} else {
		entry["annotations"] = map[string]string{childNamespace: "nested"}
	}
	bundle.content = newDocument(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{entry}})
	writeFile(t, filepath.Join(s.dir, "nested-manifest.json"), string(bundle.data))
	s.follow(t, serves, bundle)
	s.exec(t, "oras manifest push "+execHost+"/org/app:v1 nested-manifest.json")
	return s, bundle
}

// TestExecVerbose: --verbose says of each request what was answered, and from which member's repository.
func TestExecVerbose(t *testing.T) {
	s, bundle := publishedAsItIs(t, false)
	got := nestctl{s.env}.try(t, "exec", "--verbose", "--", "crane", "pull", "--format", "oci", execHost+"/org/app:v1", t.TempDir())
	const line = "\nnestctl: GET https://" + execHost + "/v2/org/app/manifests/"
	wanted := []string{line + "v1 200\n"}
	for _, m := range bundle.members {
		wanted = append(wanted, line+m.node.desc.Digest.String()+" 200 from "+execHost+"/org/app/"+m.namespace+"\n")
	}
	for _, want := range wanted {
		if !strings.Contains("\n"+got.stderr, want) {
			t.Errorf("not said: %s", want)
		}
	}
	if got.code != 0 || strings.Contains(got.stderr, "canary") {
		t.Errorf("status %d\n%s", got.code, got.stderr)
	}
}

// checkPulls pulls org/app:v1 with each client, and reads its index by tag and by digest.
func (s *execScene) checkPulls(t *testing.T, bundle node) {
	t.Helper()
	const repository = execHost + "/org/app" // exec may have another name for it
	all := digestsOf(bundle)
	for layout, c := range map[string]struct {
		command string
		digests []digest.Digest
	}{
		"crane":  {"crane pull --format oci " + repository + ":v1 crane", all},
		"oras":   {"oras cp --no-tty -r --to-oci-layout " + repository + ":v1 oras:v1", all},
		"regctl": {"regctl image copy " + repository + ":v1 ocidir://regctl:v1", all},
		"skopeo": {"skopeo copy --all docker://" + repository + ":v1 oci:skopeo:v1", all[1:]}, // Debian's leaves out of the index what it does not know
	} {
		if layout == "skopeo" && len(bundle.members) > 1 {
			continue // TestExecSkopeoCannot: a member of newApp is an index
		}
		s.exec(t, c.command)
		checkBlobs(t, filepath.Join(s.dir, layout))
		checkHas(t, filepath.Join(s.dir, layout), c.digests...)
	}
	for _, reference := range []string{":v1", "@" + bundle.desc.Digest.String()} {
		for _, command := range []string{"crane manifest ", "oras manifest fetch ", "regctl manifest get --format raw-body "} {
			if got := strings.TrimSpace(s.exec(t, command+repository+reference)); got != string(bundle.data) {
				t.Errorf("%s%s: %s", command, reference, got)
			}
		}
	}
	if got := strings.TrimSpace(s.exec(t, "crane digest "+repository+":v1")); got != bundle.desc.Digest.String() {
		t.Errorf("crane digest: %s", got)
	}
}

// checkGateway pulls org/app:v1 with ctr, through a node gateway with a credential for each repository.
func (s *execScene) checkGateway(t *testing.T, bundle node) {
	t.Helper()
	for _, name := range repositories("org/app", bundle) { // behind a front clients have one for all
		who := loginOf(name)
		rights := s.registry.tokens.user(who.username).rights
		if rights == nil {
			rights = pulls(name)
		}
		s.registry.tokens.know(who.username, user{password: who.password, rights: rights})
	}
	t.Setenv("HTTPS_PROXY", s.variable("HTTPS_PROXY"))
	t.Setenv("SSL_CERT_FILE", s.variable("SSL_CERT_FILE"))
	daemon := startContainerd(t)
	a := appAt(&registry{requestLog: s.registry.requestLog, host: execHost, scheme: "https", tokens: s.registry.tokens}, bundle)
	g := startGateway(t, a, "node")
	daemon.pullHosts(t, transfer, g.certsD, a.ref, "--all-platforms")
	there := strings.Fields(daemon.ctr(t, "content", "ls", "--quiet"))
	for _, d := range digestsOf(bundle) {
		if !slices.Contains(there, d.String()) {
			t.Errorf("containerd has not got %s", d)
		}
	}
}

// checkTokens checks that nobody else's credential was used for a member.
func (s *execScene) checkTokens(t *testing.T) {
	t.Helper()
	for _, line := range s.registry.tokens.requests() {
		for _, scope := range line.Scopes {
			repository, _, _ := parseScope(scope)
			if isMember := strings.HasPrefix(repository, "org/app/"); isMember && line.User != loginOf(repository).username {
				t.Errorf("%s was asked for by %s", scope, line.User)
			}
		}
	}
}
