//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestGatewaySystemd: what `nestctl install` and the command that it names make of an image runs under systemd as it
// is, in the sandbox of the units, with a credential helper.
func TestGatewaySystemd(t *testing.T) {
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	box := newBox(t)
	certsD := filepath.Join(box.node, "etc/containerd/certs.d")
	writeHosts(t, certsD, a.host, a.hostsOf())
	before := readText(t, filepath.Join(certsD, a.host, "hosts.toml"))
	writeFile(t, filepath.Join(box.node, "etc/containerd/config.toml"),
		"version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
	box.logIn(t, a)

	install := []string{"install", "--mode", "node", "--registry", a.host, "--address", freeAddress(t)}
	installed := runCommand(t, exec.CommandContext(t.Context(), box.nestctl, append(install, "--allow", a.host+"/other", "--root", box.node)...))
	_, next, found := strings.Cut(installed, "\nnext: systemctl ")
	if !found {
		t.Fatalf("no next step in\n%s", installed)
	}
	next, _, _ = strings.Cut(next, "\n")
	runCommand(t, exec.CommandContext(t.Context(), "systemctl", strings.Fields(next)...))

	box.boot(t)
	if out, err := daemon.tryPullHosts(t, transfer, certsD, a.ref); err == nil {
		t.Errorf("what is not allowed is pulled:\n%s", out)
	}
	const tried = "tried: the gateway answers, and reaches each registry\n"
	if said := box.run(t, append([]string{"nestctl"}, install...)...); !strings.HasSuffix(said, tried) { // a gateway that runs takes up what changes
		t.Errorf("the installation does not end by trying it:\n%s", said)
	}
	daemon.pullHosts(t, transfer, certsD, a.ref)
	box.run(t, "nestctl", "doctor", a.ref)
	install[len(install)-1] = freeAddress(t)
	box.run(t, append([]string{"nestctl"}, install...)...)
	daemon.in("elsewhere").pullHosts(t, transfer, certsD, a.ref)

	box.run(t, "systemctl", "reload", "nested-gateway.service")
	box.run(t, "systemctl", "restart", "nested-gateway.service")
	daemon.in("again").pullHosts(t, transfer, certsD, a.ref)

	// A certificate that is lost is made anew, which needs the places where the units may write.
	box.run(t, "rm", "/etc/nested/tls/gateway.pem")
	box.run(t, "systemctl", "start", "nested-renew.service")
	daemon.in("renewed").pullHosts(t, transfer, certsD, a.ref)
	box.run(t, "nestctl", "doctor", a.ref)

	// Units are left to who may write them: here the service runs a program at another place.
	const units, later = "/etc/systemd/system/", "/usr/local/bin/nestctl-later"
	box.run(t, "cp", "/usr/local/bin/nestctl", later)
	unit := box.run(t, "cat", units+"nested-renew.service")
	box.run(t, "mkdir", units+"nested-renew.service.d")
	box.run(t, "sh", "-c", "printf '[Service]\nExecStart=\nExecStart="+later+" install\n' >"+units+"nested-renew.service.d/later.conf")
	box.run(t, "systemctl", "daemon-reload")
	box.run(t, "rm", "/etc/nested/tls/gateway.pem")
	box.run(t, "systemctl", "start", "nested-renew.service")
	if got := box.run(t, "cat", units+"nested-renew.service"); got != unit {
		t.Errorf("the service has changed its unit:\n%s", got)
	}
	box.run(t, later, "install")
	if got := box.run(t, "cat", units+"nested-renew.service"); !strings.Contains(got, "\nExecStart="+later+" install\n") {
		t.Errorf("an installation without options has not changed the unit:\n%s", got)
	}
	daemon.in("later").pullHosts(t, transfer, certsD, a.ref)
	box.run(t, "rm", "-r", units+"nested-renew.service.d")

	box.run(t, "systemctl", "stop", "nested-gateway.socket", "nested-gateway.service")
	said, err := box.command("nestctl", "doctor", a.ref).Output()
	if want := "problem: the gateway is not running: nothing listens on " + install[len(install)-1]; err == nil || !strings.HasPrefix(string(said), want) {
		t.Errorf("doctor of a gateway that is stopped: %v\n%s", err, said)
	}

	box.run(t, "nestctl", "uninstall")
	if got := box.run(t, "systemctl", "list-units", "--all", "--no-legend", "nested-*"); got != "" {
		t.Errorf("units are left:\n%s", got)
	}
	if got := readText(t, filepath.Join(certsD, a.host, "hosts.toml")); got != before {
		t.Errorf("the administrator's hosts.toml became\n%s", got)
	}
	if leaks(box.run(t, "journalctl", "--no-pager")) {
		t.Error("a secret is in the journal")
	}
}

// box is a machine of its own with systemd, but for the network and the kernel.
type box struct {
	*process
	node    string // what it has besides this machine's files
	nestctl string // the program in node
	dir     string
	init    string // process id of systemd
}

func newBox(t *testing.T) *box {
	t.Helper()
	needs(t, "linux", "root", "nestctl", "unshare", "nsenter", "systemctl")
	dir := tempDir(t)
	overlayable(t, dir)
	b := &box{dir: dir, node: filepath.Join(dir, "node"), nestctl: filepath.Join(dir, "node/usr/local/bin/nestctl")}
	found, err := exec.LookPath("nestctl")
	must(t, err)
	writeFile(t, b.nestctl, readText(t, found))
	must(t, os.Chmod(b.nestctl, 0o755))
	// A minimal boot: of the machine's own services only what the units need.
	wants := filepath.Join(b.node, "usr/lib/systemd/system/sysinit.target.wants")
	must(t, os.MkdirAll(wants, 0o755))
	must(t, syscall.Setxattr(wants, "trusted.overlay.opaque", []byte("y"), 0))
	return b
}

// logIn gives the box the credentials of the app's repositories: one from a helper, the others in its Docker
// configuration.
func (b *box) logIn(t *testing.T, a *app) {
	t.Helper()
	const fromHelper = "org/app/worker"
	logins := maps.Clone(a.logins)
	delete(logins, a.host+"/"+fromHelper)
	config := readText(t, filepath.Join(dockerConfig(t, logins, map[string]any{
		"credHelpers": map[string]string{a.host + "/" + fromHelper: "box"},
	}), "config.json"))
	writeFile(t, filepath.Join(b.node, "root/.docker/config.json"), config)

	answer, err := json.Marshal(helperEntry{a.host + "/" + fromHelper, loginOf(fromHelper).username, loginOf(fromHelper).password})
	must(t, err)
	helper := filepath.Join(b.node, "usr/local/bin/docker-credential-box")
	writeFile(t, helper, fmt.Sprintf("#!/bin/sh\necho '%s'\n", answer))
	must(t, os.Chmod(helper, 0o755))
}

// boot starts systemd and waits until it has booted.
func (b *box) boot(t *testing.T) {
	t.Helper()
	cgroup := "/sys/fs/cgroup"
	if _, err := os.Stat(cgroup + "/cgroup.controllers"); err != nil {
		cgroup += "/systemd"
	}
	cgroup = filepath.Join(cgroup, filepath.Base(b.dir))
	must(t, os.Mkdir(cgroup, 0o755))
	t.Cleanup(func() { removeCgroup(t, cgroup) }) // after all processes have ended
	script, err := filepath.Abs("testdata/box.sh")
	must(t, err)
	notices := notifySocket(t, "@"+b.dir)
	b.process = start(t, "sh", "-c", `echo $$ >"$1/cgroup.procs" && shift && exec "$@"`, "sh", cgroup,
		"unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child", "sh", script, b.node, b.dir)
	for !strings.HasPrefix(notices(), "READY=1\n") {
	}
	pid := b.cmd.Process.Pid
	b.init = strings.TrimSpace(readText(t, fmt.Sprintf("/proc/%d/task/%[1]d/children", pid)))
	t.Cleanup(func() {
		b.run(t, "systemctl", "exit")
		<-b.done
	})
}

// run runs a command in the box and returns what it wrote to stdout.
func (b *box) run(t *testing.T, command ...string) string {
	t.Helper()
	return runCommand(t, b.command(command...))
}

func (b *box) command(command ...string) *exec.Cmd {
	args := append([]string{"--target", b.init, "--mount", "--pid", "--cgroup", "--uts", "--ipc"}, command...)
	return exec.Command("nsenter", args...) // also when t.Context is done
}
