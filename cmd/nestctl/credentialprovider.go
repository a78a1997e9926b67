package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/contextio"
	"github.com/nestedoci/nested/remotes/auth"
)

const (
	// providerVersion is the version of the kubelet's exec plugins that is
	// spoken.
	providerVersion = "credentialprovider.kubelet.k8s.io/v1"
	// maxProviderRequest bounds the kubelet's request, which is an image's name
	// and perhaps a service account's token and annotations.
	maxProviderRequest = 1 << 20
	// providerTime ends a lookup within the minute that the kubelet waits.
	providerTime = 50 * time.Second
	// providerCache is how long the kubelet keeps a helper's answer: some
	// helpers' tokens live five minutes.
	providerCache = 4*time.Minute + 30*time.Second
)

func newCredentialProvider() *cobra.Command {
	var stores []string
	c := &cobra.Command{
		Use:   "credential-provider",
		Short: "Answer the kubelet's questions for credentials from the node's Docker credential stores",
		Long: `Answer the kubelet's question for an image's credentials, as one of its exec
plugins (` + providerVersion + `), from the node's Docker
credential stores: the most specific key for the image's repository counts. The
request is read from standard input and the response written to standard output.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), providerTime)
			defer cancel()
			source, err := providerStores(stores)
			if err != nil {
				return err
			}
			return provideCredential(ctx, source, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	c.Flags().StringArrayVar(&stores, "docker-config", nil, "Docker configuration file, or directory with a config.json; may be repeated (default: as nestctl pull looks)")
	return c
}

// providerStores are the stores that flags name, or the environment. Whoever
// could write a file that is named here would choose what the kubelet shows to
// registries, and which helpers root runs.
func providerStores(files []string) (auth.Source, error) {
	if len(files) == 0 {
		return auth.NewStores(auth.StoresFromEnvironment()), nil
	}
	for _, path := range files {
		var bad *config.Error
		if errors.As(config.CheckDocker(path), &bad) {
			return nil, fmt.Errorf("--docker-config: %w", bad)
		}
	}
	return auth.NewStores(auth.StoresOptions{Files: files}), nil
}

// providerRequest is what the kubelet asks.
type providerRequest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Image      string `json:"image"`
}

// providerResponse is what it is told.
type providerResponse struct {
	APIVersion    string                  `json:"apiVersion"`
	Kind          string                  `json:"kind"`
	CacheKeyType  string                  `json:"cacheKeyType"`
	CacheDuration string                  `json:"cacheDuration"`
	Auth          map[string]providerAuth `json:"auth"`
}

type providerAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// provideCredential answers one request. The kubelet takes keys for plain
// prefixes of images: the answer names the full repository, and is not to be
// looked up for another image.
func provideCredential(ctx context.Context, source auth.Source, in io.Reader, out io.Writer) error {
	image, err := readProviderRequest(ctx, in)
	if err != nil {
		return err
	}
	ref, err := parseRef(image)
	if err != nil {
		return err
	}
	repository := ref.Repository()
	credential, err := source.Lookup(ctx, repository)
	if err != nil {
		return err
	}
	response := providerResponse{providerVersion, "CredentialProviderResponse", "Image", "0s", map[string]providerAuth{}}
	switch {
	case credential.Anonymous(): // not kept: a credential may come
	case credential.Password == "":
		return fmt.Errorf("%s: %s holds a token, which the kubelet cannot pass on: store a user and a password", repository, credential.Source)
	default:
		response.CacheDuration = providerCache.String()
		response.Auth[repository.String()] = providerAuth{credential.Username, string(credential.Password)}
	}
	return json.NewEncoder(out).Encode(response)
}

// readProviderRequest reads the image's name.
func readProviderRequest(ctx context.Context, in io.Reader) (string, error) {
	data, err := contextio.ReadAll(ctx, io.LimitReader(in, maxProviderRequest+1))
	if err != nil {
		return "", fmt.Errorf("the request on standard input: %w", err)
	}
	if len(data) > maxProviderRequest {
		return "", fmt.Errorf("the request is larger than %d bytes", maxProviderRequest)
	}
	var request providerRequest
	if json.Unmarshal(data, &request) != nil {
		return "", errors.New("the request on standard input is not JSON: this command is for the kubelet")
	}
	if request.APIVersion != providerVersion || request.Kind != "CredentialProviderRequest" {
		return "", fmt.Errorf("request of version %.100q and kind %.100q; understood is a CredentialProviderRequest of %s", request.APIVersion, request.Kind, providerVersion)
	}
	return request.Image, nil
}
