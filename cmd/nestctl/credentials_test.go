package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// secret begins all passwords of these tests, and is to be read in no output.
const secret = "HUNTER2"

// dockerConfig is a config.json of Docker.
type dockerConfig struct {
	path        string
	Auths       map[string]map[string]string `json:"auths,omitempty"`
	CredHelpers map[string]string            `json:"credHelpers,omitempty"`
	CredsStore  string                       `json:"credsStore,omitempty"`
}

func newDockerConfig(dir string) dockerConfig {
	return dockerConfig{
		path:        filepath.Join(dir, "config.json"),
		Auths:       map[string]map[string]string{},
		CredHelpers: map[string]string{},
	}
}

func (c *dockerConfig) write() error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(c.path, data, 0o600)
}

func (c *dockerConfig) login(key, user, password string) {
	c.Auths[key] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
}

// answeringHelper is the credential helper "answers": it knows one user for
// all servers.
func answeringHelper() {
	fmt.Printf(`{"ServerURL":%q,"Username":"helper-user","Secret":%q}`+"\n", helperServer(), secret)
}

// failingHelper is the credential helper "fails". It says too much.
func failingHelper() {
	helperServer()
	fmt.Println("no luck with " + secret)
	fmt.Fprintln(os.Stderr, "no luck with "+secret)
	os.Exit(1)
}

// hangingHelper is the credential helper "hangs". What it writes is no answer.
func hangingHelper() {
	helperServer()
	fmt.Print(secret)
	time.Sleep(10 * time.Minute)
}

// ramblingHelper is the credential helper "rambling", which is no such thing.
func ramblingHelper() {
	helperServer()
	fmt.Println("welcome! your password is " + secret)
}

// keepingHelper is the credential helper "keeps": it does what docker's do, in a file
// for each server.
func keepingHelper() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	var given struct{ ServerURL string }
	name := strings.TrimSpace(string(input))
	if os.Args[1] == "store" {
		if err = json.Unmarshal(input, &given); err != nil {
			panic(err)
		}
		name = given.ServerURL
	}
	file := filepath.Join(filepath.Dir(os.Getenv("HELPER_RUNS")), "kept-"+strings.NewReplacer("/", "_", ":", "_").Replace(name))
	switch os.Args[1] {
	case "store":
		err = os.WriteFile(file, input, 0o600)
	case "erase":
		err = os.Remove(file)
	default:
		var kept []byte
		if kept, err = os.ReadFile(file); err != nil {
			fmt.Println("credentials not found in native keychain")
			os.Exit(1)
		}
		_, err = os.Stdout.Write(kept)
	}
	if err != nil {
		os.Exit(1)
	}
}

// helperServer reads what the helper is asked for, and takes a note of it.
func helperServer() string {
	server, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	name := strings.TrimSpace(string(server))
	runs, err := os.OpenFile(os.Getenv("HELPER_RUNS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer runs.Close()
	fmt.Fprintln(runs, name)
	return name
}
