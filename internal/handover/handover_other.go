//go:build !linux

package handover

import (
	"context"
	"errors"
	"net"
)

// Sockets cannot be handed over here: there are none.
type Sockets struct{}

// Open takes the sockets of the gateway that runs under a name, if there is
// one. The name is that of an abstract Unix address, without the @. secret is
// the file with the gateway's certificate and key; it is read for each
// exchange, because it may be renewed.
func Open(context.Context, string, string) (*Sockets, error) {
	return nil, errors.New("a handover of sockets needs Linux")
}

// Listen returns the socket for a TCP address (host:port) that was handed over,
// or makes one. The caller closes it.
func (*Sockets) Listen(context.Context, string) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

// Start hands the sockets to the next gateway, until Close. Received sockets
// for which Listen was not called are closed.
func (*Sockets) Start() {}

// Close ends the handover; sockets that were handed over belong to the next
// gateway. It may be called more than once.
func (*Sockets) Close() {}
