package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// soakDoor is a way to pull. Each of a soak's workers has doors of its own, to the same daemons.
type soakDoor struct {
	name string
	// pull makes one attempt and returns all that was said.
	pull func(ref string) (said string, err error)
	// check says what is wrong with what a pull has brought.
	check func(ref string) error
	// remove takes it away.
	remove func(ref string) error
	needs  []*mortal // that have to live for a pull to succeed
}

// mortal is a daemon that is killed now and then.
type mortal struct{ deaths atomic.Int64 } // even while it lives

// die kills a daemon and lets it live again.
func (m *mortal) die(p *process, boot func()) error {
	m.deaths.Add(1)
	defer m.deaths.Add(1)
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.done
	boot()
	return nil
}

// calm waits until all that a door needs lives, and returns how often they died.
func (d *soakDoor) calm() (deaths int64) {
	for {
		deaths, odd := int64(0), false
		for _, m := range d.needs {
			n := m.deaths.Load()
			deaths, odd = deaths+n, odd || n%2 == 1
		}
		if !odd {
			return deaths
		}
		time.Sleep(50 * time.Millisecond) // somebody else boots it
	}
}

// doorsOf are the doors of a worker.
func (s *soak) doorsOf(t testing.TB, worker int) []*soakDoor {
	t.Helper()
	namespace := fmt.Sprintf("worker%d", worker)
	stock, nested := s.stock.in(namespace), s.nested.in(namespace)
	into := func(c *containerd) *soakDoor {
		d := &soakDoor{}
		d.check = func(string) error { return c.whole(t) }
		d.remove = func(ref string) error {
			out, err := c.command(t, "images", "rm", "--sync", ref).CombinedOutput()
			if err != nil && !strings.Contains(string(out), "not found") {
				return fmt.Errorf("images rm: %w\n%s", err, out)
			}
			return nil
		}
		return d
	}
	inside, direct := into(nested), into(stock)
	inside.name, inside.needs = "containerd-nested", []*mortal{&s.nestedDies}
	inside.pull = func(ref string) (string, error) {
		out, err := nested.command(t, "image", "pull", "--hosts-dir", s.certsD, ref).CombinedOutput()
		return string(out), err
	}
	direct.name, direct.needs = "nestctl to containerd", []*mortal{&s.stockDies}
	direct.pull = func(ref string) (string, error) {
		return s.runNestctl(t, "pull", "--hosts-dir", s.certsD, "--address", stock.address, "--namespace", namespace, ref)
	}

	doors := append(s.clientDoors(t, worker), s.layoutDoor(t), direct, inside)
	for _, g := range []struct {
		name   string
		with   puller
		certsD string
		more   []string
		needs  *mortal
	}{
		{"gateway, node", transfer, s.node.certsD, nil, &s.nodeDies},
		{"gateway, node, ctr --local", local, s.node.certsD, nil, &s.nodeDies},
		{"gateway, pod", transfer, s.pod.certsD, []string{"--user", soakUser.username + ":" + soakUser.password}, &s.podDies},
	} {
		d := into(stock)
		d.name, d.needs = g.name, []*mortal{&s.stockDies, g.needs}
		d.pull = func(ref string) (string, error) { return stock.tryPullHosts(t, g.with, g.certsD, ref, g.more...) }
		doors = append(doors, d)
	}
	if worker == 0 { // there is one namespace for all
		doors = append(doors, s.criDoor(t))
	}
	return doors
}

// criDoor pulls as the kubelet does, through the gateway. Its daemon is not killed.
func (s *soak) criDoor(t testing.TB) *soakDoor {
	image := func(ref string) *runtime.ImageSpec { return &runtime.ImageSpec{Image: ref} }
	return &soakDoor{
		name: "gateway, node, CRI",
		pull: func(ref string) (string, error) {
			_, err := s.cri.imageService.PullImage(t.Context(), &runtime.PullImageRequest{Image: image(ref)})
			if err != nil {
				return err.Error(), err
			}
			return "", nil
		},
		check: func(ref string) error {
			answer, err := s.cri.imageService.ImageStatus(t.Context(), &runtime.ImageStatusRequest{Image: image(ref)})
			if err == nil && answer.Image == nil {
				err = errors.New("CRI does not know the image")
			}
			return errors.Join(err, s.cri.whole(t))
		},
		remove: func(ref string) error {
			_, err := s.cri.imageService.RemoveImage(t.Context(), &runtime.RemoveImageRequest{Image: image(ref)})
			return err
		},
		needs: []*mortal{&s.nodeDies},
	}
}

// layoutDoor pulls into a layout, which is kept until a pull has succeeded.
func (s *soak) layoutDoor(t testing.TB) *soakDoor {
	dir := filepath.Join(t.TempDir(), "layout")
	return &soakDoor{
		name: "nestctl to a layout",
		pull: func(ref string) (string, error) {
			said, err := s.runNestctl(t, "pull", "--hosts-dir", s.certsD, "--to", "oci-layout:"+dir, ref)
			if bad := spoilt(filepath.Join(dir, "blobs", "sha256")); bad != nil {
				s.fail("layout: %v", bad)
			}
			return said, err
		},
		check: func(ref string) error {
			if index, err := os.ReadFile(filepath.Join(dir, "index.json")); err != nil || !strings.Contains(string(index), ref) {
				return fmt.Errorf("index.json does not name %s: %w", ref, err)
			}
			return nil
		},
		remove: func(string) error { return os.RemoveAll(dir) },
	}
}

func (s *soak) runNestctl(t testing.TB, args ...string) (string, error) {
	cmd := s.client.command(t, args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// whole reports whether every image in the namespace is complete.
func (c *containerd) whole(t testing.TB) error {
	out, err := c.checkImages(t)
	if err != nil && strings.Contains(err.Error(), "not found") { // an image was collected after ctr had listed it
		out, err = c.checkImages(t)
	}
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	bad := slices.DeleteFunc(lines[1:], func(line string) bool {
		return strings.Contains(line, "complete (") && !strings.Contains(line, "incomplete")
	})
	if len(bad) > 0 {
		return fmt.Errorf("images check: %q", bad)
	}
	return nil
}

func (c *containerd) checkImages(t testing.TB) (string, error) {
	out, err := c.command(t, "images", "check").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("images check: %w: %s", err, exit.Stderr)
	}
	return string(out), err
}
