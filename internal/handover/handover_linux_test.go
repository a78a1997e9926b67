package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// controlName is a name for a control socket of a test's own.
func controlName(t *testing.T) string { return fmt.Sprintf("%s-%d", t.Name(), os.Getpid()) }

func pemOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openDoor opens a handover that ends with the test.
func openDoor(t *testing.T, name, secret string) *Sockets {
	t.Helper()
	h, err := Open(t.Context(), name, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// TestHandover: the next gateway gets the socket of the one before, and hands
// it on, too, however many others connect and say nothing.
func TestHandover(t *testing.T) {
	name, secret, ctx := controlName(t), pemOf(t, "key"), t.Context()
	const address = "127.0.0.1:0"
	current := openDoor(t, name, secret)
	socket, err := current.Listen(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	current.Start()
	for range 2 {
		for range maxPeers - 1 {
			silent := dialDoor(t, name)
			defer silent.Close()
		}
		next := openDoor(t, name, secret)
		handed, err := next.Listen(ctx, address)
		if err != nil || handed.Addr().String() != socket.Addr().String() {
			t.Fatalf("%v in place of %v, %v", handed, socket.Addr(), err)
		}
		next.Start()
		current.Close()
		if err = socket.Close(); err != nil {
			t.Fatal(err)
		}
		current, socket = next, handed
		client, err := new(net.Dialer).DialContext(ctx, "tcp", socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := socket.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = client.Close(), server.Close()
	}
	_ = socket.Close()
}

func dialDoor(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn)
}

// TestHandoverStranger: who cannot read the gateway's certificate gets no
// sockets, and gives none to a gateway.
func TestHandoverStranger(t *testing.T) {
	name, secret, ctx := controlName(t), pemOf(t, "key"), t.Context()
	ours := openDoor(t, name, secret)
	socket, err := ours.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	ours.Start()

	conn := dialDoor(t, name)
	defer conn.Close()
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(conn, nonce); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(strings.Repeat("x", 1000))); err != nil {
		t.Fatal(err)
	}
	rights := make([]byte, syscall.CmsgSpace(4*maxSockets))
	if _, m, _, _, err := conn.ReadMsgUnix(nonce, rights); err == nil && m > 0 {
		t.Error("sockets for nothing")
	}

	if _, err := Open(ctx, name, pemOf(t, "another key")); err == nil {
		t.Error("sockets for another key")
	}
}

// TestHandoverSquatter: sockets of somebody who has the name before any gateway
// are not listened on.
func TestHandoverSquatter(t *testing.T) {
	name := controlName(t)
	squatter, err := new(net.ListenConfig).Listen(t.Context(), "unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	go give(squatter)
	if _, err := Open(t.Context(), name, pemOf(t, "key")); !errors.Is(err, errStranger) {
		t.Errorf("%v", err)
	}
}

// give gives a listener of its own, as a gateway would, but without a proof.
func give(squatter net.Listener) {
	conn, err := squatter.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write(make([]byte, nonceSize))
	_, _ = io.ReadFull(conn, make([]byte, nonceSize+32))
	control, err := squatter.(*net.UnixListener).File()
	if err != nil {
		return
	}
	defer control.Close()
	text := append(make([]byte, 32), "[]"...)
	_, _, _ = conn.(*net.UnixConn).WriteMsgUnix(text, syscall.UnixRights(int(control.Fd())), nil)
}
