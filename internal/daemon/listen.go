package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/nestedoci/nested/internal/handover"
)

// sockets makes the listeners of the process.
type sockets struct {
	handover *handover.Sockets // nil: the sockets are not handed over
}

// openSockets takes the sockets of the gateway that runs under the name, if
// there is a name.
func openSockets(ctx context.Context, name, certificate string) (sockets, error) {
	if name == "" {
		return sockets{}, nil
	}
	taken, err := handover.Open(ctx, name, certificate)
	return sockets{taken}, err
}

// service returns the socket that systemd passes, that of the gateway before, or
// a new one.
func (s sockets) service(ctx context.Context, address string) (net.Listener, error) {
	passed, err := activation.Listeners()
	switch {
	case err != nil:
		return nil, err
	case len(passed) > 1:
		return nil, fmt.Errorf("systemd passes %d sockets; one is needed", len(passed))
	case len(passed) == 1 && passed[0] != nil:
		if s.handedOver() {
			return nil, errors.New("systemd passes a socket; --handover is for where systemd does not hold the sockets")
		}
		return passed[0], nil
	}
	return s.listen(ctx, address)
}

// listen returns the socket of the gateway before, or a new one.
func (s sockets) listen(ctx context.Context, address string) (net.Listener, error) {
	if s.handedOver() {
		return s.handover.Listen(ctx, address)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; choose a port from 1024, or run it with CAP_NET_BIND_SERVICE", err)
	}
	return listener, err
}

// handedOver reports whether the next gateway gets the sockets.
func (s sockets) handedOver() bool { return s.handover != nil }

// start lets the next gateway take the sockets.
func (s sockets) start() {
	if s.handedOver() {
		s.handover.Start()
	}
}

// close ends that. The sockets themselves stay open.
func (s sockets) close() {
	if s.handedOver() {
		s.handover.Close()
	}
}
