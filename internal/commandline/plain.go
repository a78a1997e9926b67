package commandline

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Plain is the text of an error in which the sentences of Go's network libraries
// are replaced by plain ones: of a request the host is named, and not its method,
// its URL and the system call that failed.
func Plain(err error) string {
	text := err.Error()
	eachCause(err, func(cause error) bool {
		says := plain(cause)
		if says == "" {
			return true
		}
		for _, raw := range []string{"failed to do request: " + cause.Error(), cause.Error()} {
			text = strings.ReplaceAll(text, raw, says)
		}
		return false
	})
	return text
}

// eachCause visits an error, and its causes where visit returns true.
func eachCause(err error, visit func(error) bool) {
	if err == nil || !visit(err) {
		return
	}
	switch e := err.(type) { //nolint:errorlint // this is the walk along the chain
	case interface{ Unwrap() error }:
		eachCause(e.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			eachCause(cause, visit)
		}
	default: // package retry hides causes from those who would retry, and answers errors.As
		for _, hidden := range []error{as[*url.Error](err), as[*net.OpError](err), as[*tls.CertificateVerificationError](err)} {
			if hidden != nil {
				eachCause(hidden, visit)
				return
			}
		}
	}
}

func as[E error](err error) error {
	if cause, ok := errors.AsType[E](err); ok {
		return cause
	}
	return nil
}

// plain says what an error of a network library means, "" for other errors.
func plain(err error) string {
	switch e := err.(type) { //nolint:errorlint // the error itself, as Plain goes through its causes
	case *url.Error:
		return hostOf(e.URL) + ": " + Plain(reworded(e.Err))
	case *net.OpError:
		return Plain(e.Err)
	case *net.DNSError:
		if e.IsNotFound || e.Err == "no such host" {
			return "no such host"
		}
		return "the host's name could not be looked up"
	case *os.SyscallError:
		return e.Err.Error()
	case *tls.CertificateVerificationError:
		return Plain(e.Err)
	case x509.UnknownAuthorityError:
		return "its certificate is signed by an unknown authority"
	case x509.HostnameError:
		return "its certificate is for another host"
	case x509.CertificateInvalidError:
		if e.Reason == x509.Expired {
			return "its certificate has expired, or is not valid yet"
		}
		return "its certificate is not valid"
	}
	if errors.Is(err, context.DeadlineExceeded) && err.Error() == context.DeadlineExceeded.Error() {
		return "no answer in time"
	}
	return ""
}

// reworded replaces the causes of a failed request that are too short to be
// replaced wherever they stand in a text.
func reworded(err error) error {
	var timeout net.Error
	switch {
	case strings.HasSuffix(err.Error(), io.EOF.Error()): // retry hides the error itself
		return errors.New("the connection was closed without an answer")
	case errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("an answer over http where https was expected")
	case errors.As(err, &timeout) && timeout.Timeout(), strings.Contains(err.Error(), "timeout"):
		return errors.New("no answer in time")
	}
	return err
}

// hostOf is the host of a URL; the URL may have secrets.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "the registry"
	}
	return u.Host
}
