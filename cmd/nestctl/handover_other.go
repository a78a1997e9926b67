//go:build !linux

package main

import (
	"context"
	"errors"
	"net"
)

// handover is Linux's alone.
type handover struct{}

func openHandover(context.Context, string, string) (*handover, error) {
	return nil, errors.New("--handover: needs Linux")
}

func (*handover) listen(context.Context, string) (net.Listener, error) { return nil, nil }
func (*handover) start()                                               {}
func (*handover) close()                                               {}
