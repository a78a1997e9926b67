package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

const (
	maxAttempts = 4
	firstPause  = 100 * time.Millisecond
)

// again repeats what failed in a way that may pass, and waits longer each time.
func again(ctx context.Context, do func() error) error {
	for attempt := 0; ; attempt++ {
		err := do()
		if err == nil || attempt+1 == maxAttempts || !mayPass(err) {
			return err
		}
		timer := time.NewTimer(firstPause << (2 * attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// mayPass tells whether a request that failed is worth another try.
func mayPass(err error) bool {
	var status remoteerrors.ErrUnexpectedStatus
	var unknown *net.DNSError
	var broken net.Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &status):
		return status.StatusCode == http.StatusTooManyRequests || status.StatusCode >= http.StatusInternalServerError
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return false
	}
	return errdefs.IsUnavailable(err) || errors.As(err, &broken) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}
