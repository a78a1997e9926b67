package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/contextio"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// providerTime ends a lookup within the minute that the kubelet waits, so that
// the kubelet logs our error and not a timeout.
const providerTime = 50 * time.Second

// newCredentialProvider returns the plugin for the kubelet. It is a command of
// nestctl so that a node needs one program only.
func newCredentialProvider() *cobra.Command {
	var stores []string
	c := &cobra.Command{
		Use:   "credential-provider",
		Short: "Give the kubelet credentials from the node's Docker credential stores",
		Long: `The kubelet runs this command as one of its credential provider plugins
(` + auth.KubeletVersion + `). It writes the request to standard input,
and reads the response from standard output. The most specific key for the
image's repository wins.`,
		Example: `  nestctl credential-provider --docker-config /etc/nested/docker.json < request.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), providerTime)
			defer cancel()
			source, err := config.CheckedStores(stores)
			if err != nil {
				return fmt.Errorf("--docker-config: %w", err)
			}
			return provideCredential(ctx, source, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	c.Flags().StringArrayVar(&stores, "docker-config", nil, "Docker configuration `file`, or a directory with a config.json (repeatable; default: those of nestctl pull)")
	return c
}

// provideCredential answers one request. A request for something that is not an
// image is the caller's mistake, and not a failed lookup.
func provideCredential(ctx context.Context, source auth.Source, in io.Reader, out io.Writer) error {
	request, err := contextio.ReadAll(ctx, io.LimitReader(in, auth.MaxKubeletRequest+1))
	if err != nil {
		return fmt.Errorf("the request on standard input: %w", err)
	}
	response, err := auth.AnswerKubelet(ctx, source, request)
	if errdefs.IsInvalidArgument(err) {
		return usage.Error{Err: err}
	}
	if err == nil {
		_, err = out.Write(response)
	}
	return err
}
