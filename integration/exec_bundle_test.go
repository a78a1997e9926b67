package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newStrictExecScene is a scene whose registry insists that an index's members are in its own repository. The clients know
// the user of org/app, and nestctl knows that of org/app/nested, too.
func newStrictExecScene(t *testing.T) *execScene {
	t.Helper()
	needs(t, "linux", "nestctl", "crane", "oras", "regctl")
	users, logins := map[string]user{}, map[string]login{}
	for key, repositories := range map[string][]string{execHost: {"org/app", "org/copy"}, execHost + "/org/app/nested": {"org/app/nested"}} {
		who := login{"user of " + key, "canary of " + key}
		users[who.username], logins[key] = user{password: who.password, rights: pushes(repositories...)}, who
	}
	return newExecScene(t, registryOptions{strict: true}, users, logins)
}

// client runs a client, through nestctl exec where that is said.
func (s *execScene) client(t *testing.T, followed bool, command string) string {
	t.Helper()
	words := strings.Fields(command)
	if followed {
		words = append([]string{"nestctl", "exec", "--registry", execHost, "--"}, words...)
	}
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return runCommand(t, cmd)
}

// clientAs runs a client directly, with the login of a key alone.
func (s *execScene) clientAs(t *testing.T, key, command string) string {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	alone := dockerConfig(t, map[string]login{execHost: {"user of " + key, "canary of " + key}}, nil)
	cmd.Dir, cmd.Env = s.dir, append(slices.Clone(s.env), "DOCKER_CONFIG="+alone)
	return runCommand(t, cmd)
}

// TestExecNestedIndex: what image-spec issue 1217 says does not work, does, with other people's clients as they are: an
// index that is written by hand and names content of a child repository is pushed to a registry that checks, and copied.
func TestExecNestedIndex(t *testing.T) {
	for name, state := range map[string]func(entry map[string]any){
		"annotation": func(entry map[string]any) { entry["annotations"] = map[string]string{childNamespace: "nested"} },
		"property":   func(entry map[string]any) { entry["namespace"] = "nested" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStrictExecScene(t)
			const r = execHost + "/org/app"
			var member ocispec.Descriptor
			pushed := s.clientAs(t, execHost+"/org/app/nested", "oras push --no-tty --artifact-type application/vnd.test.rpm --format json "+r+"/nested:manifest hello.rpm:application/x-rpm")
			must(t, json.Unmarshal([]byte(pushed), &member))

			entry := map[string]any{"mediaType": member.MediaType, "digest": member.Digest, "size": member.Size, "artifactType": "application/vnd.test.rpm"}
			state(entry)
			data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{entry}})
			must(t, err)
			writeFile(t, filepath.Join(s.dir, "nested-manifest.json"), string(data))
			s.client(t, true, "oras manifest push "+r+":index nested-manifest.json")

			for _, command := range []string{
				"oras cp --no-tty -r --to-oci-layout " + r + ":index oras:v1",
				"crane pull --format oci " + r + ":index crane",
				"regctl image copy " + r + ":index ocidir://regctl:v1",
			} {
				s.client(t, true, command)
				checkBlobs(t, filepath.Join(s.dir, layoutOf(command)))
				for _, d := range []digest.Digest{digest.FromBytes(data), member.Digest} {
					if _, err := os.Stat(filepath.Join(s.dir, layoutOf(command), "blobs", "sha256", d.Encoded())); err != nil {
						t.Errorf("%s: %v", command, err)
					}
				}
			}
			if got := s.client(t, true, "crane manifest "+r+":index"); strings.TrimSpace(got) != string(data) {
				t.Errorf("crane manifest: %s", got)
			}
			if got := strings.TrimSpace(s.client(t, true, "crane digest "+r+":index")); got != digest.FromBytes(data).String() {
				t.Errorf("crane digest: %s", got)
			}
			for _, line := range s.registry.tokens.requests() {
				for _, scope := range line.Scopes {
					repository, _, _ := parseScope(scope)
					if want := "user of " + execHost; repository == "org/app/nested" && line.User == want {
						t.Errorf("%s was asked for by %s", scope, line.User)
					}
				}
			}
		})
	}
}

// layoutOf is the directory to which a command of TestExecNestedIndex copies.
func layoutOf(command string) string { return strings.Fields(command)[0] }
