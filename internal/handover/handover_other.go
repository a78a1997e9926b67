//go:build !linux

package handover

import (
	"context"
	"errors"
	"net"
)

// Sockets cannot be handed over here: there are none.
type Sockets struct{}

// Open fails: abstract Unix addresses are Linux's alone.
func Open(context.Context, string, string) (*Sockets, error) {
	return nil, errors.New("a handover of sockets needs Linux")
}

// Listen is never called.
func (*Sockets) Listen(context.Context, string) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

// Start is never called.
func (*Sockets) Start() {}

// Close is never called.
func (*Sockets) Close() {}
