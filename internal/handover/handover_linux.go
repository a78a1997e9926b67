package handover

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/containerd/log"
)

const (
	// exchangeTime bounds one exchange over the control socket, from connecting
	// to receiving the sockets: the messages are short, and both sides are on
	// one machine.
	exchangeTime = 5 * time.Second
	// maxSockets bounds what a message can bring; a gateway has the control
	// socket and two more.
	maxSockets = 8
	// maxPeers bounds the exchanges at once: any process may connect and say
	// nothing until exchangeTime is over.
	maxPeers = 8
	// nonceSize is how many bytes each side chooses at random.
	nonceSize = 32
)

// Sockets are those of this gateway, which the next one may take. They are for
// one goroutine; after Start, Close alone may be called.
type Sockets struct {
	secret   string // the file with certificate and key
	control  *net.UnixListener
	names    []string // addresses of the sockets, as Listen got them
	sockets  []net.Listener
	received map[string]net.Listener // not used yet
}

// Open takes the sockets of the gateway that runs under a name, if there is
// one. The name is that of an abstract Unix address, without the @. secret is
// the file with the gateway's certificate and key; it is read for each
// exchange, because it may be renewed.
func Open(ctx context.Context, name, secret string) (*Sockets, error) {
	h := &Sockets{secret: secret, received: map[string]net.Listener{}}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", "@"+name)
	if errors.Is(err, syscall.ECONNREFUSED) {
		control, listenErr := new(net.ListenConfig).Listen(ctx, "unix", "@"+name)
		if listenErr != nil {
			return nil, listenErr
		}
		h.control = control.(*net.UnixListener)
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := h.receive(conn.(*net.UnixConn)); err != nil {
		h.Close()
		return nil, fmt.Errorf("the process that listens as @%s does not hand over a gateway's sockets: %w", name, err)
	}
	return h, nil
}

// receive gets the control socket and the others.
func (h *Sockets) receive(conn *net.UnixConn) error {
	nonces := make([]byte, 2*nonceSize) // theirs, ours
	if err := conn.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, nonces[:nonceSize]); err != nil {
		return err
	}
	_, _ = rand.Read(nonces[nonceSize:]) // never fails
	takerProof, giverProof, err := h.proofs(nonces)
	if err != nil {
		return err
	}
	if _, err = conn.Write(append(nonces[nonceSize:], takerProof...)); err != nil {
		return err
	}
	text, rights := make([]byte, 4096), make([]byte, syscall.CmsgSpace(4*maxSockets))
	n, m, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return err
	}
	listeners, err := listenersOf(rights[:m])
	text, known := bytes.CutPrefix(text[:n], giverProof)
	if !known {
		for _, l := range listeners {
			_ = l.Close()
		}
		return errStranger
	}
	if len(listeners) > 0 {
		h.control, _ = listeners[0].(*net.UnixListener)
		listeners = listeners[1:]
	}
	var names []string
	err = errors.Join(err, json.Unmarshal(text, &names))
	for i, l := range listeners {
		if i < len(names) {
			h.received[names[i]] = l
		} else {
			_ = l.Close()
		}
	}
	if err == nil && (h.control == nil || len(listeners) != len(names)) {
		err = errors.New("its answer is not complete")
	}
	return err
}

// listenersOf makes listeners of the descriptors in a message.
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

var errStranger = errors.New("it does not prove that it can read the gateway's certificate")

// proofs are what the side that takes and the side that gives answer to each
// other's nonces.
func (h *Sockets) proofs(nonces []byte) (takerProof, giverProof []byte, err error) {
	secret, err := os.ReadFile(h.secret) // anew, as it may have been renewed
	if err != nil {
		return nil, nil, err
	}
	proof := func(role string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(role))
		mac.Write(nonces)
		return mac.Sum(nil)
	}
	return proof("asks"), proof("gives"), nil
}

// sameUser refuses a peer of another user.
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

// Listen returns the socket for a TCP address (host:port) that was handed over,
// or makes one. The caller closes it.
func (h *Sockets) Listen(ctx context.Context, address string) (net.Listener, error) {
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

// Start hands the sockets to the next gateway, until Close. Received sockets
// for which Listen was not called are closed.
func (h *Sockets) Start() {
	for _, l := range h.received { // of an address that is no longer used
		_ = l.Close()
	}
	h.received = nil
	go h.serve()
}

func (h *Sockets) serve() {
	peers := make(chan struct{}, maxPeers)
	for {
		peers <- struct{}{}
		conn, err := h.control.AcceptUnix()
		if err != nil {
			return
		}
		go func() { // a peer that says nothing keeps nobody waiting
			defer func() { _ = conn.Close(); <-peers }()
			if err := h.send(conn); err != nil {
				log.L.WithError(err).Warn("the sockets were not handed over")
			}
		}()
	}
}

// send gives the sockets to a peer that proves that it can read the secret. It
// refuses another user's process at once, so that such processes cannot use up
// maxPeers.
func (h *Sockets) send(conn *net.UnixConn) error {
	nonces := make([]byte, 2*nonceSize) // ours, theirs
	_, _ = rand.Read(nonces[:nonceSize])
	if err := errors.Join(sameUser(conn), conn.SetDeadline(time.Now().Add(exchangeTime))); err != nil {
		return err
	}
	if _, err := conn.Write(nonces[:nonceSize]); err != nil {
		return err
	}
	request := make([]byte, nonceSize+sha256.Size)
	if _, err := io.ReadFull(conn, request); err != nil {
		return err
	}
	copy(nonces[nonceSize:], request)
	takerProof, giverProof, err := h.proofs(nonces)
	if err != nil {
		return err
	}
	if !hmac.Equal(takerProof, request[nonceSize:]) {
		return errStranger
	}
	text, err := json.Marshal(h.names)
	if err != nil {
		return err
	}
	holders := []syscall.Conn{h.control}
	for _, l := range h.sockets {
		holders = append(holders, l.(*net.TCPListener))
	}
	return withDescriptors(holders, nil, func(fds []int) error {
		_, _, err := conn.WriteMsgUnix(append(giverProof, text...), syscall.UnixRights(fds...), nil)
		return err
	})
}

// withDescriptors calls a function while descriptors cannot be closed.
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

// Close ends the handover; sockets that were handed over belong to the next
// gateway. It may be called more than once.
func (h *Sockets) Close() {
	if h.control != nil {
		_ = h.control.Close()
	}
	for _, l := range h.received {
		_ = l.Close()
	}
}
