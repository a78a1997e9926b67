package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/containerd/log"
)

const (
	// handoverTime is how long a gateway may take to hand its sockets over.
	handoverTime = 5 * time.Second
	// handoverSockets bounds how many there may be.
	handoverSockets = 8
)

// handover lets the next gateway listen on the sockets of the one before,
// while that one ends: no connection meets nobody, and none is lost that
// waits to be accepted. Whoever runs as the same user in the same network
// namespace may ask for the sockets at an abstract address, the door, which is
// handed over with them.
type handover struct {
	door     *net.UnixListener
	names    []string // addresses of the sockets, as the configuration has them
	sockets  []net.Listener
	received map[string]net.Listener // not used so far
}

// openHandover takes the sockets of the gateway that runs, if one does.
func openHandover(ctx context.Context, name string) (*handover, error) {
	h := &handover{received: map[string]net.Listener{}}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", "@"+name)
	if errors.Is(err, syscall.ECONNREFUSED) {
		door, listenErr := new(net.ListenConfig).Listen(ctx, "unix", "@"+name)
		if listenErr != nil {
			return nil, listenErr
		}
		h.door = door.(*net.UnixListener)
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := h.receive(conn.(*net.UnixConn)); err != nil {
		h.close()
		return nil, fmt.Errorf("the gateway that runs does not hand over its sockets: %w", err)
	}
	return h, nil
}

// receive gets the door and the sockets.
func (h *handover) receive(conn *net.UnixConn) error {
	if err := errors.Join(sameUser(conn), conn.SetDeadline(time.Now().Add(handoverTime))); err != nil {
		return err
	}
	text, rights := make([]byte, 4096), make([]byte, syscall.CmsgSpace(4*handoverSockets))
	n, m, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return err
	}
	listeners, err := listenersOf(rights[:m])
	if len(listeners) > 0 {
		h.door, _ = listeners[0].(*net.UnixListener)
		listeners = listeners[1:]
	}
	var names []string
	err = errors.Join(err, json.Unmarshal(text[:n], &names))
	for i, l := range listeners {
		if i < len(names) {
			h.received[names[i]] = l
		} else {
			_ = l.Close()
		}
	}
	if err == nil && (h.door == nil || len(listeners) != len(names)) {
		err = errors.New("its answer is not complete")
	}
	return err
}

// listenersOf makes listeners of what came with a message.
func listenersOf(rights []byte) ([]net.Listener, error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	var all []net.Listener
	for _, message := range messages {
		fds, rightsErr := syscall.ParseUnixRights(&message)
		err = errors.Join(err, rightsErr)
		for _, fd := range fds {
			file := os.NewFile(uintptr(fd), "socket")
			listener, fileErr := net.FileListener(file)
			if err = errors.Join(err, fileErr, file.Close()); fileErr == nil {
				all = append(all, listener)
			}
		}
	}
	return all, err
}

// sameUser refuses another user's process at the other end.
func sameUser(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *syscall.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, peerErr); err != nil {
		return err
	}
	if int64(peer.Uid) != int64(os.Geteuid()) {
		return fmt.Errorf("user %d is at the other end", peer.Uid)
	}
	return nil
}

// listen takes a socket that was handed over, or makes one.
func (h *handover) listen(ctx context.Context, address string) (net.Listener, error) {
	listener, ok := h.received[address]
	if !ok {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			return nil, err
		}
	}
	delete(h.received, address)
	h.names, h.sockets = append(h.names, address), append(h.sockets, listener)
	return listener, nil
}

// start hands the sockets to whoever comes next, until close.
func (h *handover) start() {
	for _, l := range h.received { // of an address that is not used any more
		_ = l.Close()
	}
	h.received = nil
	go h.serve()
}

func (h *handover) serve() {
	for {
		conn, err := h.door.AcceptUnix()
		if err != nil {
			return
		}
		if err := h.send(conn); err != nil {
			log.L.WithError(err).Warn("the sockets were not handed over")
		}
		_ = conn.Close()
	}
}

func (h *handover) send(conn *net.UnixConn) error {
	if err := errors.Join(sameUser(conn), conn.SetDeadline(time.Now().Add(handoverTime))); err != nil {
		return err
	}
	text, err := json.Marshal(h.names)
	if err != nil {
		return err
	}
	holders := []syscall.Conn{h.door}
	for _, l := range h.sockets {
		holders = append(holders, l.(*net.TCPListener))
	}
	return withDescriptors(holders, nil, func(fds []int) error {
		_, _, err := conn.WriteMsgUnix(text, syscall.UnixRights(fds...), nil)
		return err
	})
}

// withDescriptors does something while descriptors cannot be closed.
func withDescriptors(holders []syscall.Conn, fds []int, do func([]int) error) error {
	if len(holders) == 0 {
		return do(fds)
	}
	raw, err := holders[0].SyscallConn()
	if err != nil {
		return err
	}
	var doErr error
	err = raw.Control(func(fd uintptr) { doErr = withDescriptors(holders[1:], append(fds, int(fd)), do) })
	return errors.Join(err, doErr)
}

// close ends the handing over; what was handed over is the next gateway's.
func (h *handover) close() {
	if h.door != nil {
		_ = h.door.Close()
	}
	for _, l := range h.received {
		_ = l.Close()
	}
}
