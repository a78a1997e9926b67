package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
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
		if !auth.Sleep(ctx, firstPause<<(2*attempt)) {
			return context.Cause(ctx)
		}
	}
}

// mayPass tells whether a request that failed is worth another try.
func mayPass(err error) bool {
	var status remoteerrors.ErrUnexpectedStatus
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &status):
		return status.StatusCode == http.StatusTooManyRequests || status.StatusCode >= http.StatusInternalServerError
	}
	return errdefs.IsUnavailable(err) || auth.IsBroken(err) || errors.Is(err, io.ErrClosedPipe)
}
