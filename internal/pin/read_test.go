package pin

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAllFilesTogetherHaveABound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	half := "# " + strings.Repeat("x", maxSize/2) + "\n"
	if err := os.WriteFile(path, []byte(half), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Read(t.Context(), endless{}, []string{path, "-"})
	if want := "standard input: Kubernetes manifests of more than 8.0 MiB"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	in, far := io.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := errors.New("interrupt")
	cancel(interrupt)
	if _, err := Read(ctx, in, []string{"-"}); !errors.Is(err, interrupt) {
		t.Errorf("%v", err)
	}
}

// endless is a stream without an end.
type endless struct{}

var _ io.Reader = endless{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	return len(p), nil
}
