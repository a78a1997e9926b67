package auth

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// asNobody lets the rest of a test that root runs read as another user does.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	set := func(uid uintptr) {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, uid, 0, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	set(65533)
	t.Cleanup(func() { set(0); runtime.UnlockOSThread() })
}

// TestUnreadFile: docker passes over its own file when it may not read it; the
// tools that have auth.json do not, nor does a daemon.
func TestUnreadFile(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	second := writeFile(t, filepath.Join(dir, "second.json"), `{"auths":{"reg/b":`+u1+`}}`)
	unread := []string{
		writeFile(t, filepath.Join(dir, "config.json"), `{"auths":{"reg":`+u1+`}}`),
		writeFile(t, filepath.Join(locked, "config.json"), `{"auths":{"reg":`+u1+`}}`),
	}
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, second: 0o644, unread[0]: 0, locked: 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(locked, 0o700) }) // to be removed
	asNobody(t)
	for _, path := range unread {
		stores := NewStores(StoresOptions{Files: []string{path, second}, PassedOver: []string{path}})
		credential, err := stores.Lookup(ctx(), repository(t, "reg/b"))
		if err != nil || credential.Username != "u1" {
			t.Errorf("passed over: %+v, %v", credential, err)
		}
		credential, err = stores.Lookup(ctx(), repository(t, "reg/a"))
		if err != nil || !credential.Anonymous() || !strings.HasPrefix(credential.Source, "none: ") || !strings.Contains(credential.Source, path+": permission denied, no key for it in "+second) {
			t.Errorf("none: %+v, %v", credential, err)
		}
		_, err = NewStores(StoresOptions{Files: []string{path, second}}).Lookup(ctx(), repository(t, "reg/b"))
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
			t.Errorf("not passed over: %v", err)
		}
	}
}
