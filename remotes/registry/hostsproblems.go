package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// hostsProblems collects the errors that containerd logs while it reads
// hosts.toml. When containerd cannot read a file it goes on without it, to the
// registry itself, which the file may be there to prevent.
type hostsProblems struct{ err error }

var _ logrus.Hook = (*hostsProblems)(nil)

// listen returns a context whose logger reports to the hook.
func (p *hostsProblems) listen() context.Context {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.AddHook(p)
	return log.WithLogger(context.Background(), logrus.NewEntry(logger))
}

// heard returns the errors since the last call.
func (p *hostsProblems) heard() error {
	err := p.err
	p.err = nil
	return err
}

// Levels implements [logrus.Hook].
func (p *hostsProblems) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

// Fire implements [logrus.Hook].
func (p *hostsProblems) Fire(e *logrus.Entry) error {
	p.err = errors.Join(p.err, fmt.Errorf("%s: %v", e.Message, e.Data[logrus.ErrorKey]))
	return nil
}
