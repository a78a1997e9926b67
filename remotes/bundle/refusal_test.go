package bundle

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestRefusal: what a registry refuses comes with what to do.
func TestRefusal(t *testing.T) {
	for _, test := range []struct {
		to     string
		status int
		code   string
		want   string // "" for the error as it is
	}{
		{"123456789012.dkr.ecr.eu-west-1.amazonaws.com/org/app/web", 404, "NAME_UNKNOWN", "aws ecr create-repository --repository-name org/app/web"},
		{"123456789012.dkr-ecr.eu-west-1.on.aws/org/app/web", 404, "NAME_UNKNOWN", "aws ecr create-repository"},
		{"public.ecr.aws/org/app", 404, "NAME_UNKNOWN", "aws ecr create-repository"},
		{"reg.test/org/app", 404, "NAME_UNKNOWN", "create it (or its project) first"},
		{"ecr.evil.test/org/app", 404, "NAME_UNKNOWN", "create it (or its project) first"},
		{"reg.test/org/app", 413, "", "has a limit below this size"},
		{"reg.test/org/app", 404, "BLOB_UNKNOWN", ""},
		{"reg.test/org/app", 500, "NAME_UNKNOWN", ""},
	} {
		to, err := auth.ParseRepository(test.to)
		if err != nil {
			t.Fatal(err)
		}
		plain := fmt.Errorf("pushing: %w", remoteerrors.ErrUnexpectedStatus{StatusCode: test.status, Body: fmt.Appendf(nil, `{"errors":[{"code":%q,"message":"no"}]}`, test.code)})
		got := refusal(to, plain)
		if !errors.Is(got, plain) || (got.Error() == plain.Error()) != (test.want == "") || !strings.Contains(got.Error(), test.want) {
			t.Errorf("%s %d %s: %v", test.to, test.status, test.code, got)
		}
	}
	if err := refusal(auth.Repository{}, nil); err != nil {
		t.Error(err)
	}
}
