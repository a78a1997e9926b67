package lock_test

import (
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
)

func TestMain(m *testing.M) { clienttest.Main(m) }
