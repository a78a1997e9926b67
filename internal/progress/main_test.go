package progress

import (
	"testing"

	"github.com/nestedoci/nested/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
