package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/nestedoci/nested/internal/registrytest"
)

const (
	helper        = "nesteddemo"
	helperProgram = "docker-credential-" + helper
	helperSecrets = "secrets.json" // beside the helper
)

// user may read one repository, and nothing else.
type user struct {
	name, password string
	repository     string
	key            string // of the Docker configuration
	helper         bool   // the password is with the helper, not in auths
}

// newUsers makes a user for every repository of the bundles.
func newUsers(r *registrytest.Registry) []user {
	users := []user{
		{name: "org-reader", repository: "org/ko-build", key: r.Host()},
		{name: "controller-team", repository: "org/ko-build/controller"},
		{name: "webhook-team", repository: "org/ko-build/webhook", helper: true},
		{name: "cli-team", repository: "org/ko-build/cli"},
		{name: "rpm-reader", repository: "org/myrpmrepo"},
		{name: "bash-team", repository: "org/myrpmrepo/bash"},
		{name: "zlib-team", repository: "org/myrpmrepo/zlib", helper: true},
	}
	for i := range users {
		u := &users[i]
		if u.key == "" {
			u.key = r.Host() + "/" + u.repository
		}
		u.password = newPassword()
		r.Allow(u.name, u.password, u.repository)
	}
	return users
}

func newPassword() string { return rand.Text() }

// source says where the user's credential is.
func (u user) source() string {
	if u.helper {
		return "helper " + helperProgram
	}
	_, path, _ := strings.Cut(u.key, "/")
	return strings.TrimSuffix("auths, key HOST/"+path, "/")
}

// secret is what the helper knows of a server.
type secret struct{ ServerURL, Username, Secret string }

// writeConfig writes a Docker configuration and, in a folder "bin", a credential helper: this
// program under another name.
func writeConfig(dir string, users []user) error {
	auths, helpers, secrets := map[string]any{}, map[string]string{}, map[string]secret{}
	for _, u := range users {
		if u.helper {
			helpers[u.key] = helper
			secrets[u.key] = secret{u.key, u.name, u.password}
			continue
		}
		auths[u.key] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(u.name + ":" + u.password))}
	}
	bin := filepath.Join(dir, "bin")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return err
	}
	return errors.Join(
		writeJSON(filepath.Join(dir, "config.json"), map[string]any{"auths": auths, "credHelpers": helpers}),
		writeJSON(filepath.Join(bin, helperSecrets), secrets),
		os.Symlink(self, filepath.Join(bin, helperProgram)),
	)
}

func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// environment is this process's, with the credentials of a Docker configuration and no others.
func environment(config string) []string {
	env := []string{
		"DOCKER_CONFIG=" + config,
		"PATH=" + filepath.Join(config, "bin") + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "PATH":
		default:
			env = append(env, v)
		}
	}
	return env
}

// runHelper is the credential helper: it reads a server's name and prints its secret.
func runHelper() int {
	var secrets map[string]secret
	data, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), helperSecrets))
	server, readErr := io.ReadAll(os.Stdin)
	if errors.Join(err, readErr, json.Unmarshal(data, &secrets)) != nil {
		return 1
	}
	found, ok := secrets[strings.TrimSpace(string(server))]
	if !ok {
		fmt.Println("credentials not found in native keychain")
		return 1
	}
	if json.NewEncoder(os.Stdout).Encode(found) != nil {
		return 1
	}
	return 0
}
