// Command demo shows what nestctl does, on a registry of its own: it publishes the two bundles of
// opencontainers/image-spec issue 1217, lists and pulls them with nestctl, and checks what has
// arrived and who asked for it. It ends with status 0 only when everything is as it says.
//
// Read on in this order: publish.go (the registry), credentials.go (the user's Docker configuration
// and its helper), check.go (layouts and the request log) with tokens.go (who asked for which token).
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nestedoci/nested/internal/registrytest"
)

func main() {
	if filepath.Base(os.Args[0]) == helperProgram {
		os.Exit(runHelper())
	}
	nestctl := flag.String("nestctl", "bin/nestctl", "the program to show")
	flag.Parse()
	if err := run(*nestctl); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is what the steps share.
type demo struct {
	registry *registrytest.Registry
	dir      string // everything that the demo writes is in here
	nestctl  string
	users    []user
}

func run(nestctl string) error {
	program, err := filepath.Abs(nestctl)
	if err != nil {
		return err
	}
	if _, err = os.Stat(program); err != nil {
		return fmt.Errorf("%w; build it with make build", err)
	}
	dir, err := os.MkdirTemp("", "nested-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{registry: registrytest.New(registrytest.WithTokenAuth()), dir: dir, nestctl: program}
	defer d.registry.Close()
	d.users = newUsers(d.registry)
	if err := writeConfig(d.configDir("docker"), d.users); err != nil {
		return err
	}
	return d.play()
}

// play shows the scenes.
func (d *demo) play() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	say(`A registry runs at %s. In it are two bundles whose members live in
repositories below their own. Another user may read each repository. The commands also get
--hosts-dir='', so that this machine's settings for registries stay out of it. Digests are cut
for the screen.`, d.registry.Host())
	bundles := publish(d.registry)
	for _, b := range bundles {
		if err := d.show(ctx, b); err != nil {
			return err
		}
	}
	if err := d.showDenial(ctx, bundles[0]); err != nil {
		return err
	}
	say(`The same with your own registry, and the credentials of your ~/.docker/config.json:

    bin/nestctl tree REF
    bin/nestctl pull REF --to oci-layout:DIR        into a directory
    bin/nestctl pull REF --to oci-archive:FILE      into a file that ctr image import takes
    sudo bin/nestctl pull REF                       into containerd

REF is your index, such as registry.example.com/org/app:v1.`)
	return nil
}

// show lists and pulls a bundle, and checks what has arrived.
func (d *demo) show(ctx context.Context, b bundle) error {
	say("%s", b.about)
	ref := d.registry.Host() + "/" + b.repository + ":" + b.tag
	if _, err := d.run(ctx, 0, "docker", "tree", ref, "--plain-http"); err != nil {
		return err
	}
	d.registry.ResetLog() // the table is about pulls
	name := filepath.Base(b.repository)
	pull := append([]string{"pull", ref, "--to", "oci-layout:" + name, "--plain-http"}, b.flags...)
	if _, err := d.run(ctx, 0, "docker", pull...); err != nil {
		return err
	}
	blobs, err := checkLayout(filepath.Join(d.dir, name), b.root)
	if err != nil {
		return fmt.Errorf("layout %s: %w", name, err)
	}
	say("Checked: the layout holds the complete bundle, %d blobs, and each matches its digest.", blobs)
	return d.checkTokens(b)
}

// showDenial pulls with a wrong password for one member.
func (d *demo) showDenial(ctx context.Context, b bundle) error {
	say("Now with a wrong password for the member cli: nothing is recorded, and the error says why.")
	users := append([]user{}, d.users...)
	for i := range users {
		if users[i].repository == b.repository+"/cli" {
			users[i].password = newPassword()
		}
	}
	if err := writeConfig(d.configDir("wrong"), users); err != nil {
		return err
	}
	const denied = 3
	ref := d.registry.Host() + "/" + b.repository + ":" + b.tag
	message, err := d.run(ctx, denied, "wrong", "pull", ref, "--to", "oci-layout:denied", "--all-platforms", "--plain-http")
	if err != nil {
		return err
	}
	for _, u := range append(users, d.users...) {
		if strings.Contains(message, u.password) {
			return fmt.Errorf("the error holds the password of %s", u.name)
		}
	}
	for _, part := range []string{d.registry.Host() + "/" + b.repository + "/cli", "config.json", "repository:" + b.repository + "/cli:pull"} {
		if !strings.Contains(message, part) {
			return fmt.Errorf("the error does not say %q", part)
		}
	}
	if names, err := recorded(filepath.Join(d.dir, "denied")); err != nil || names > 0 {
		return errors.Join(fmt.Errorf("after the denial %d names are recorded", names), err)
	}
	say("Exit status 3. The error names repository, credential, scope and answer, and no password.")
	return nil
}

func (d *demo) configDir(name string) string { return filepath.Join(d.dir, name) }

// run runs nestctl in the demo's directory, shows the command and what it printed, and returns its
// errors. config is the directory of the Docker configuration.
func (d *demo) run(ctx context.Context, status int, config string, args ...string) (string, error) {
	fmt.Println("$ nestctl " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.nestctl, append(args, "--hosts-dir=")...)
	cmd.Dir = d.dir
	cmd.Env = environment(d.configDir(config))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != status {
		return "", fmt.Errorf("nestctl %s: status %d, want %d (%w): %s", args[0], code, status, err, &stderr)
	}
	if status == 0 {
		show(stdout.String())
	} else {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		show(wrap(lines[len(lines)-1])) // those before it are progress
	}
	return stderr.String(), nil
}

var longDigest = regexp.MustCompile(`(sha256:[0-9a-f]{12})[0-9a-f]{52}`)

// show prints what a command printed, with digests cut to fit a terminal.
func show(output string) { say("%s", longDigest.ReplaceAllString(strings.TrimSpace(output), "$1…")) }

// say prints a paragraph.
func say(format string, args ...any) { fmt.Printf(format+"\n\n", args...) }

// wrap breaks a long line between words.
func wrap(line string) string {
	const width = 96
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(line) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteString("\n  ")
			column = 2
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
