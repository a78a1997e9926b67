package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// complaints listens to what containerd logs as an error while it reads
// hosts.toml. A file that it cannot read it leaves at that, and goes to the
// registry itself, which the file may be there to prevent.
type complaints struct{ err error }

var _ logrus.Hook = (*complaints)(nil)

// listen returns a context whose logger is listened to.
func (c *complaints) listen() context.Context {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.AddHook(c)
	return log.WithLogger(context.Background(), logrus.NewEntry(logger))
}

// heard returns what was logged since the last time.
func (c *complaints) heard() error {
	err := c.err
	c.err = nil
	return err
}

// Levels implements [logrus.Hook].
func (c *complaints) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

// Fire implements [logrus.Hook].
func (c *complaints) Fire(e *logrus.Entry) error {
	c.err = errors.Join(c.err, fmt.Errorf("%s: %v", e.Message, e.Data[logrus.ErrorKey]))
	return nil
}
