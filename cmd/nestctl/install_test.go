package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
)

// TestInstallStay: what is removed from an installation that stays is back after
// seconds, nothing is said meanwhile, and a failure ends it.
func TestInstallStay(t *testing.T) {
	root := t.TempDir()
	hosts := filepath.Join(root, config.ContainerdCerts, "reg.test/hosts.toml")
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var out sharedBuffer
		c := newInstall()
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetOut(&out)
		c.SetArgs([]string{"--mode", "node", "--registry", "reg.test", "--no-systemd", "--stay", "--root", root})
		ended := make(chan error, 1)
		stay := func() { ended <- c.ExecuteContext(ctx) }
		go stay()
		synctest.Wait()
		said := out.String()
		time.Sleep(stayInterval + time.Second)
		synctest.Wait()
		if more := strings.TrimPrefix(out.String(), said); more != "" {
			t.Errorf("nothing was wrong, and it says %s", more)
		}
		if err := os.Remove(hosts); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if more := strings.TrimPrefix(out.String(), said); more != "wrote "+config.ContainerdCerts+"/reg.test/hosts.toml\n" {
			t.Errorf("hosts.toml was removed, and it says %q", more)
		}
		if _, err := os.Stat(hosts); err != nil {
			t.Error(err)
		}
		if _, err := node.Uninstall(ctx, root, false); err != nil {
			t.Fatal(err)
		}
		if err := within(t, ended); !errors.Is(err, node.ErrNotInstalled) {
			t.Errorf("nothing is installed any more, and it ends with %v", err)
		}
		go stay()
		synctest.Wait()
		stop()
		if err := within(t, ended); err != nil {
			t.Errorf("it is told to end, and ends with %v", err)
		}
	})
}

// within waits for an end, for two intervals.
func within(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(2 * stayInterval):
		t.Fatal("it goes on")
		return nil
	}
}
