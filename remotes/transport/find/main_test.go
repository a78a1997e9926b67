package find

import (
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
)

func TestMain(m *testing.M) { fronttest.Main(m) }
