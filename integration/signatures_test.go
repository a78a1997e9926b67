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

// mirrorHost is a second registry, which the same proxy finds.
const mirrorHost = "mirror.example.com"

// mirrored are parents there.
var mirrored = []string{"direct/app", "brought/app", "bare/app"}

// signedAt are registries with a signed bundle: of its index, of a carrier in its place, and one that lists by API what
// refers to it.
var signedAt = map[string]struct {
	options  registryOptions
	strategy string
}{
	"reference": {registryOptions{}, "reference"},
	"carrier":   {registryOptions{strict: true}, "carrier"},
	"api":       {registryOptions{kind: goContainerRegistry, referrers: true}, "carrier"},
}

// TestSignatures: notation signs the root of a bundle by its tag, and an image in a member's repository. The root's
// signature names the index, also where a carrier is in its place. Both verify where nestctl copy --referrers brings
// them, from registry to registry and through an archive, whether a registry lists referrers by API or by tag.
func TestSignatures(t *testing.T) {
	for name, at := range signedAt {
		t.Run(name, func(t *testing.T) {
			s := newSignedScene(t, at.options, at.strategy)
			s.checkSigned(t, execHost, "org/app")
			archive := "oci-archive:" + filepath.Join(t.TempDir(), "app.tar")
			s.nestctl(t, "copy", "--referrers", execHost+"/org/app:v1", archive)
			for to, there := range signedAt {
				t.Run(to, func(t *testing.T) {
					s.startMirror(t, there.options)
					s.nestctl(t, "copy", "--referrers", "--strategy", there.strategy, execHost+"/org/app:v1", mirrorHost+"/direct/app:v1")
					s.nestctl(t, "copy", "--referrers", "--strategy", there.strategy, archive, mirrorHost+"/brought/app:v1")
					s.nestctl(t, "copy", "--strategy", there.strategy, execHost+"/org/app:v1", mirrorHost+"/bare/app:v1")
					s.checkSigned(t, mirrorHost, "direct/app")
					s.checkSigned(t, mirrorHost, "brought/app")
					s.refuses(t, mirrorHost+"/bare/app:v1", "no signature is associated")
				})
			}
		})
	}
}

// signedScene has a bundle, each of whose repositories has a user of its own. notation knows those of the parents, and is
// told another.
type signedScene struct {
	*execScene
	bundle node
	root   digest.Digest
}

// newSignedScene publishes a bundle at org/app, and signs it.
func newSignedScene(t *testing.T, o registryOptions, strategy string) *signedScene {
	t.Helper()
	needs(t, "notation")
	s := &signedScene{bundle: newApp(t)}
	users, logins := map[string]user{}, map[string]login{execHost: loginOf("org/app"), mirrorHost: loginOf("mirror")}
	addMembers := func(host, parent string) {
		members := repositories(parent, s.bundle)[1:]
		maps.Copy(users, pushers(members...))
		for _, repository := range members {
			logins[host+"/"+repository] = loginOf(repository)
		}
	}
	addMembers(execHost, "org/app")
	for _, parent := range mirrored {
		addMembers(mirrorHost, parent)
	}
	users[loginOf("org/app").username] = user{password: loginOf("org/app").password, rights: pushes("org/app")}
	users[loginOf("mirror").username] = user{password: loginOf("mirror").password, rights: pushes(mirrored...)}
	s.execScene = newExecScene(t, o, users, logins)
	s.trust(t)
	for _, m := range s.bundle.members {
		s.registry.pushNode(t, "org/app/"+m.namespace, "v1", m.node)
	}
	s.root = s.publish(t, strategy)
	s.sign(t)
	return s
}

// publish makes the index at org/app of what is in the members' repositories.
func (s *signedScene) publish(t *testing.T, strategy string, flags ...string) digest.Digest {
	t.Helper()
	args := append([]string{"index", "create", "--strategy", strategy, execHost + "/org/app:v1"}, flags...)
	for _, m := range s.bundle.members {
		args = append(args, execHost+"/org/app/"+m.namespace+":v1")
	}
	return s.nestctl(t, args...)
}

// trust makes a key, and trusts it alone.
func (s *signedScene) trust(t *testing.T) {
	t.Helper()
	config := t.TempDir()
	s.env = append(s.env, "NOTATION_CONFIG="+config)
	s.do(t, "notation cert generate-test --default tests.example.com")
	writeFile(t, filepath.Join(config, "trustpolicy.json"), `{"version": "1.0", "trustPolicies": [{"name": "tests", "registryScopes": ["*"],
		"signatureVerification": {"level": "strict"}, "trustStores": ["ca:tests.example.com"], "trustedIdentities": ["*"]}]}`)
}

// startMirror puts an empty registry in the mirror's place.
func (s *signedScene) startMirror(t *testing.T, o registryOptions) {
	t.Helper()
	s.proxy.know(mirrorHost+":443", s.start(t, o).host)
}

// nestctl runs it with the clients' environment, and returns the digest of what it published.
func (s *signedScene) nestctl(t *testing.T, args ...string) digest.Digest {
	t.Helper()
	var made struct{ Digest digest.Digest }
	must(t, json.Unmarshal([]byte(nestctl{s.env}.run(t, append(args, "--format", "json")...).stdout), &made))
	return made.Digest
}

// sign signs the root of org/app in both formats of notation's, one listed under the fallback tag and one as the registry
// likes it, and the member worker.
func (s *signedScene) sign(t *testing.T) {
	t.Helper()
	const root = execHost + "/org/app"
	for _, options := range []string{"", "--signature-format cose --force-referrers-tag=false "} {
		if said := s.exec(t, "notation sign "+options+root+":v1"); !strings.Contains(said, "Successfully signed "+root+"@"+s.root.String()) {
			t.Errorf("signed: %s", said)
		}
	}
	s.do(t, "notation sign "+s.worker(execHost, "org/app"), s.as("org/app/worker")...)
}

// worker is the reference of the member worker, in its own repository.
func (s *signedScene) worker(host, parent string) string {
	return host + "/" + parent + "/worker@" + s.bundle.members[1].node.desc.Digest.String()
}

// as makes notation a repository's own user.
func (s *signedScene) as(repository string) []string {
	l := loginOf(repository)
	return []string{"NOTATION_USERNAME=" + l.username, "NOTATION_PASSWORD=" + l.password}
}

// checkSigned checks that notation verifies the root of a bundle, by tag and by digest, of two signatures, and a member.
func (s *signedScene) checkSigned(t *testing.T, host, parent string) {
	t.Helper()
	root := host + "/" + parent
	verified := "Successfully verified signature for " + root + "@" + s.root.String()
	for _, ref := range []string{root + ":v1", root + "@" + s.root.String()} {
		if said := s.exec(t, "notation verify "+ref); !strings.Contains(said, verified) {
			t.Errorf("verified: %s", said)
		}
	}
	if listed := s.exec(t, "notation list "+root+":v1"); strings.Count(listed, "── sha256:") != 2 {
		t.Errorf("signatures: %s", listed)
	}
	s.do(t, "notation verify "+s.worker(host, parent), s.as(parent+"/worker")...)
}

// refuses checks that notation does not verify something, and says why.
func (s *signedScene) refuses(t *testing.T, ref, why string) {
	t.Helper()
	got := nestctl{s.env}.try(t, "exec", "--", "notation", "verify", "--verbose", ref)
	if got.code != 1 || !strings.Contains(got.stderr, why) {
		t.Errorf("notation verify %s: status %d, not %q:\n%s%s", ref, got.code, why, got.stdout, got.stderr)
	}
}

// TestSignaturesOfOthers: a signature counts for the index that was signed, as it was signed: another index under the same
// tag has none, none that is put there counts for it, and none with another byte for any.
func TestSignaturesOfOthers(t *testing.T) {
	for name, at := range signedAt {
		t.Run(name, func(t *testing.T) {
			s := newSignedScene(t, at.options, at.strategy)
			s.startMirror(t, at.options)
			s.nestctl(t, "copy", "--strategy", at.strategy, execHost+"/org/app:v1", mirrorHost+"/bare/app:v1")
			signed, envelope := s.signature(t)
			s.attach(t, mirrorHost+"/bare/app", *signed.Subject, signed, strings.Replace(envelope, `"signature":"`, `"signature":"A`, 1))
			s.refuses(t, mirrorHost+"/bare/app:v1", "signature is invalid")

			other := *signed.Subject
			other.Digest = s.publish(t, at.strategy, "--annotation", "changed=yes")
			if other.Digest == s.root {
				t.Error("the index is the same")
			}
			s.refuses(t, execHost+"/org/app:v1", "no signature is associated")
			s.attach(t, execHost+"/org/app", other, signed, envelope)
			s.refuses(t, execHost+"/org/app:v1", "content descriptor mismatch")
			s.exec(t, "notation verify "+execHost+"/org/app@"+s.root.String())
		})
	}
}

// signature is the root's signature in JWS: its manifest, and what was signed.
func (s *signedScene) signature(t *testing.T) (manifest ocispec.Manifest, envelope string) {
	t.Helper()
	const repository = execHost + "/org/app"
	for _, found := range digest.DigestRegexp.FindAllString(s.exec(t, "notation list "+repository+":v1"), -1)[1:] {
		must(t, json.Unmarshal([]byte(s.exec(t, "oras manifest fetch "+repository+"@"+found)), &manifest))
		if blob := manifest.Layers[0]; blob.MediaType == "application/jose+json" {
			return manifest, s.exec(t, "oras blob fetch --output - "+repository+"@"+blob.Digest.String())
		}
	}
	t.Fatal("no signature in JWS")
	return manifest, ""
}

// attach makes a signature one of something.
func (s *signedScene) attach(t *testing.T, repository string, subject ocispec.Descriptor, manifest ocispec.Manifest, envelope string) {
	t.Helper()
	manifest.Subject, manifest.Layers = &subject, []ocispec.Descriptor{newContent(manifest.Layers[0].MediaType, []byte(envelope)).desc}
	writeFile(t, filepath.Join(s.dir, "envelope"), envelope)
	writeFile(t, filepath.Join(s.dir, "manifest"), string(newDocument(t, manifest.MediaType, manifest).data))
	s.exec(t, "oras blob push "+repository+" envelope")
	s.exec(t, "oras blob push "+repository+" "+writeFile(t, filepath.Join(s.dir, "config"), "{}"))
	s.exec(t, "oras manifest push "+repository+" manifest")
}

// TestSignaturesGuide: what the guide says about notation works as it stands there, with nothing but a Docker configuration.
func TestSignaturesGuide(t *testing.T) {
	s := newSignedScene(t, registryOptions{strict: true}, "carrier")
	s.env = append(s.env, "NOTATION_CONFIG="+t.TempDir())
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", docScript(t, "guides/signatures.md", "notation"))
	cmd.Dir, cmd.Env = s.dir, s.env
	if said := runCommand(t, cmd); !strings.Contains(said, "Successfully verified signature for "+execHost+"/org/app@"+s.root.String()) {
		t.Error(said)
	}
}

// TestSignaturesInContainerd: containerd's image verifiers are asked about the index, by its digest, whether a gateway or
// the plugin follows it. With the verifier and the settings that the guide has, a bundle is pulled when its root is signed,
// and another root under the same tag is not.
func TestSignaturesInContainerd(t *testing.T) {
	s := newSignedScene(t, registryOptions{strict: true}, "carrier")
	t.Setenv("HTTPS_PROXY", s.variable("HTTPS_PROXY"))
	t.Setenv("SSL_CERT_FILE", s.variable("SSL_CERT_FILE"))
	a := appAt(&registry{requestLog: s.registry.requestLog, host: execHost, scheme: "https", tokens: s.tokens}, s.bundle)
	stock, nested := startContainerd(t), startInside(t, a.logins, `verify = "root"`)
	pulls := map[*containerd]string{stock: startGateway(t, a, "node").certsD, nested: t.TempDir()}
	for daemon, certsD := range pulls {
		s.verifyIn(t, daemon)
		daemon.pullHosts(t, transfer, certsD, a.ref)
		if got := daemon.images(t); !slices.Contains(got, a.ref) {
			t.Errorf("%s: images %q", daemon.version, got)
		}
		daemon.ctr(t, "images", "rm", a.ref)
	}
	s.publish(t, "carrier", "--annotation", "changed=yes")
	for daemon, certsD := range pulls {
		out, err := daemon.tryPullHosts(t, transfer, certsD, a.ref)
		if err == nil || !strings.Contains(out, "image verifier bindir blocked pull of "+a.ref) || !strings.Contains(out, "no signature is associated") {
			t.Errorf("%s: %v\n%s", daemon.version, err, out)
		}
	}
}

// verifyIn does what the guide says about containerd, in directories of the test's. Daemons of tests have a directory of
// verifiers, empty until now.
func (s *signedScene) verifyIn(t *testing.T, daemon *containerd) {
	t.Helper()
	script := strings.NewReplacer("/etc/containerd/config.toml", "config.toml", "/opt/containerd/image-verifier/bin", daemon.dir+"/verifiers",
		"/etc/notation", s.variable("NOTATION_CONFIG"), "/root/.docker", s.variable("DOCKER_CONFIG")).Replace(docScript(t, "guides/signatures.md", "containerd"))
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	runCommand(t, cmd)
}
