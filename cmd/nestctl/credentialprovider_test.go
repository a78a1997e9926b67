package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestCredentialProviderHangs: a store that hangs is a failure with nothing on standard output, by the helper's time limit
// or by the command's, both of which end before the kubelet's minute.
func TestCredentialProviderHangs(t *testing.T) {
	t.Setenv("HELPER_RUNS", t.TempDir()+"/runs")
	if providerTime > 50*time.Second {
		t.Errorf("the command takes up to %v", providerTime)
	}
	for name, test := range map[string]struct {
		helper, command time.Duration
		want            string
	}{
		"helper's limit":  {200 * time.Millisecond, time.Minute, "it did not answer in time"},
		"command's limit": {0, 200 * time.Millisecond, "deadline exceeded"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), test.command)
		source := auth.NewStores(auth.StoresOptions{Inline: auth.Secret(`{"credsStore":"hangs"}`), HelperTimeout: test.helper})
		request := fmt.Sprintf(`{"kind":"CredentialProviderRequest","apiVersion":%q,"image":"reg.test/org/app:v1"}`, auth.KubeletVersion)
		var out bytes.Buffer
		began := time.Now()
		err := provideCredential(ctx, source, strings.NewReader(request), &out)
		cancel()
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) || out.Len() > 0 {
			t.Errorf("%s: got %v, and %q", name, err, &out)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

// A standard input on which nothing comes keeps nobody.
func TestCredentialProviderInterrupted(t *testing.T) {
	in, far := io.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := errors.New("interrupt")
	cancel(interrupt)
	if err := provideCredential(ctx, auth.Sources{}, in, io.Discard); !errors.Is(err, interrupt) {
		t.Error(err)
	}
}
