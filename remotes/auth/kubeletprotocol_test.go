package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// kubeletStores has one user, of one repository, and a token of another.
func kubeletStores() *Stores {
	return NewStores(StoresOptions{Inline: Secret(fmt.Sprintf(
		`{"auths":{"reg.test/org/app":{"username":"someone","password":%q},"reg.test/org/token":{"identitytoken":"t"}}}`, secret))})
}

// What AnswerKubelet writes is what KubeletProviders reads: for the image's repository, and for no other.
func TestAnswerKubeletIsReadBack(t *testing.T) {
	t.Parallel()
	for image, user := range map[string]string{
		"reg.test/org/app/web:v1":                            "someone",
		"reg.test/org/app@sha256:" + strings.Repeat("0", 64): "someone",
		"reg.test/org/other":                                 "",
	} {
		request := fmt.Sprintf(`{"apiVersion":%q,"kind":"CredentialProviderRequest","image":%q}`, KubeletVersion, image)
		response, err := AnswerKubelet(ctx(), kubeletStores(), []byte(request))
		if err != nil {
			t.Fatal(err)
		}
		named, err := ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]time.Duration{"someone": kubeletAnswerKeep}[user]
		var p kubeletProvider
		c, keep, reason := p.read(response, named.Repository())
		if reason != "" || c.Username != user || keep != want || (c.Password == secret) != (user != "") {
			t.Errorf("%s: %v for %v, %s, %q", image, c, keep, reason, response)
		}
		if c, _, _ = p.read(response, repository(t, "reg.test/org/apple")); !c.Anonymous() {
			t.Errorf("the answer for %s is for another repository, too", image)
		}
	}
}

// What is no request of the kubelet, or cannot be answered, is an error without a secret; a bad image has its class.
func TestAnswerKubeletRefuses(t *testing.T) {
	t.Parallel()
	request := func(version, kind, image string) string {
		return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"image":%q}`, version, kind, image)
	}
	for text, test := range map[string]struct {
		want string
		bad  bool // class invalid argument
	}{
		"hello": {"not JSON", false},
		request(KubeletVersion+"beta1", kubeletRequestKind, "a"):                {"v1beta1", false},
		request(KubeletVersion, kubeletResponseKind, "a"):                       {kubeletResponseKind, false},
		request(KubeletVersion, kubeletRequestKind, "reg.test/a b"):             {`reference "reg.test/a b"`, true},
		request(KubeletVersion, kubeletRequestKind, ""):                         {`reference ""`, true},
		request(KubeletVersion, kubeletRequestKind, "reg.test/org/token"):       {"holds a token, which the kubelet cannot pass on", false},
		request(KubeletVersion, kubeletRequestKind, strings.Repeat("a", 1<<20)): {"larger than 1048576 bytes", false},
	} {
		response, err := AnswerKubelet(ctx(), kubeletStores(), []byte(text))
		if err == nil || response != nil || !strings.Contains(err.Error(), test.want) || errdefs.IsInvalidArgument(err) != test.bad || strings.Contains(err.Error(), secret) {
			t.Errorf("%.80s: %q, %v", text, response, err)
		}
	}
}
