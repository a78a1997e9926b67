package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// The protocol of the kubelet's credential provider plugins: one JSON object
// on standard input asks, one on standard output answers. [KubeletProviders]
// asks plugins, and [AnswerKubelet] is what a plugin does.

const (
	// KubeletVersion is the version of the protocol that [AnswerKubelet]
	// understands.
	KubeletVersion = "credentialprovider.kubelet.k8s.io/v1"
	// MaxKubeletRequest bounds a request in bytes. It is an image's name and
	// perhaps a service account's token and annotations.
	MaxKubeletRequest = 1 << 20

	kubeletRequestKind  = "CredentialProviderRequest"
	kubeletResponseKind = "CredentialProviderResponse"
	// kubeletAnswerKeep is how long the kubelet caches our answer: tokens of
	// some credential helpers live five minutes.
	kubeletAnswerKeep = 4*time.Minute + 30*time.Second
)

// kubeletRequest is the request for an image's credential.
type kubeletRequest struct {
	APIVersion string `json:"apiVersion"`
	Image      string `json:"image"`
	Kind       string `json:"kind"`
}

// kubeletResponse has credentials by key: an image's name, or the beginning of
// one, where the host may have wildcards.
type kubeletResponse struct {
	APIVersion    string                 `json:"apiVersion"`
	Kind          string                 `json:"kind"`
	CacheKeyType  string                 `json:"cacheKeyType"`            // for which other images the answer may be used: Image, Registry, Global
	CacheDuration *string                `json:"cacheDuration,omitempty"` // nil: as the kubelet's file says
	Auth          map[string]kubeletAuth `json:"auth"`
}

// kubeletAuth is a credential on the wire, where a [Secret] would be redacted.
type kubeletAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// AnswerKubelet answers one request of the kubelet, at most [MaxKubeletRequest]
// bytes of JSON (credentialprovider.kubelet.k8s.io/v1,
// CredentialProviderRequest), with the source's credential for the image's
// repository. The kubelet uses the answer's keys as plain prefixes of images;
// the answer names the full repository and must not be used for another image.
//
// The response is a line of JSON that holds the secret. When the source has no
// credential, that is an answer, too, which the kubelet does not cache. After
// an error the kubelet tries again. The class of the error is
// [errdefs.ErrInvalidArgument] when the image is not a reference.
func AnswerKubelet(ctx context.Context, source Source, request []byte) (response []byte, err error) {
	repository, err := readKubeletRequest(request)
	if err != nil {
		return nil, err
	}
	credential, err := source.Lookup(ctx, repository)
	if err != nil {
		return nil, err
	}
	keep := "0s" // no answer to keep: a credential may be stored soon
	auths := map[string]kubeletAuth{}
	switch {
	case credential.Anonymous():
	case credential.Password == "":
		return nil, fmt.Errorf("%s: %s holds a token, which the kubelet cannot pass on: store a user and a password", repository, credential.Source)
	default:
		keep = kubeletAnswerKeep.String()
		auths[repository.String()] = kubeletAuth{credential.Username, string(credential.Password)}
	}
	response, err = json.Marshal(kubeletResponse{KubeletVersion, kubeletResponseKind, "Image", &keep, auths})
	return append(response, '\n'), err
}

// readKubeletRequest reads the image's repository.
func readKubeletRequest(data []byte) (Repository, error) {
	if len(data) > MaxKubeletRequest {
		return Repository{}, fmt.Errorf("the request is larger than %d bytes", MaxKubeletRequest)
	}
	var request kubeletRequest
	if json.Unmarshal(data, &request) != nil {
		return Repository{}, errors.New("the request on standard input is not JSON: this command is for the kubelet")
	}
	if request.APIVersion != KubeletVersion || request.Kind != kubeletRequestKind {
		return Repository{}, fmt.Errorf("request of version %.100q and kind %.100q; only a %s of %s is supported", request.APIVersion, request.Kind, kubeletRequestKind, KubeletVersion)
	}
	image, err := ParseReference(request.Image)
	if err != nil {
		return Repository{}, Classed(errdefs.ErrInvalidArgument, "%v", err)
	}
	return image.Repository(), nil
}
