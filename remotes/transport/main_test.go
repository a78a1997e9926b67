package transport

import (
	"testing"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/internal/registrytest"
)

func TestMain(m *testing.M) {
	log.L.Logger.SetOutput(&logged)
	log.L.Logger.SetLevel(logrus.DebugLevel)
	leaktest.Main(m)
}

// logged is all that was logged, at the most talkative.
var logged registrytest.Output
