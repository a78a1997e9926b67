package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/login"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/registry"
)

func newLogin(s *settings) *cobra.Command {
	var username, verify string
	var fromInput bool
	c := &cobra.Command{
		Use:   "login HOST[/PATH]",
		Short: "Write a credential for a registry, or for a repository and those below it",
		Long: `The credential is shown to the registry first. For a PATH it has to give the right
to pull from that repository, or from the one that --verify names below it. Then it
goes where docker keeps it: $DOCKER_CONFIG/config.json, or the credential helper that
this file names. The most specific key counts, so that repositories of one registry
can have different users.`,
		Example: "  nestctl login registry.example.com/org/app -u robot --password-stdin < token",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			key, at, err := login.Parse(args[0], verify)
			if err != nil {
				return err
			}
			credential, err := login.Ask(cmd.InOrStdin(), cmd.ErrOrStderr(), username, fromInput)
			if err != nil {
				return err
			}
			s.credentials = key.Only(credential)
			client, closeAll, err := s.around(at, new(registry.Metrics))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeAll()) }()
			if err = key.Verify(cmd.Context(), client, at); err != nil {
				return err
			}
			where, warning, err := key.Store(cmd.Context(), credential)
			return told(cmd, fmt.Sprintf("logged in to %s, in %s", key, where), warning, err)
		},
	}
	c.Flags().StringVarP(&username, "username", "u", "", "user name")
	c.Flags().BoolVar(&fromInput, "password-stdin", false, "read the password from standard input, not from the terminal")
	c.Flags().StringVar(&verify, "verify", "", "repository below PATH to verify the credential with")
	return c
}

func newLogout() *cobra.Command {
	return &cobra.Command{
		Use:   "logout HOST[/PATH]",
		Short: "Remove the credential of exactly this key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, _, err := login.Parse(args[0], "")
			if err != nil {
				return err
			}
			had, warning, err := key.Erase(cmd.Context())
			if had {
				return told(cmd, "logged out of "+key.String(), warning, err)
			}
			return told(cmd, "not logged in to "+key.String(), warning, err)
		},
	}
}

// told prints what was done, unless there is an error.
func told(cmd *cobra.Command, done, warning string, err error) error {
	if err != nil {
		return err
	}
	if warning != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), sanitize.Text("warning: "+warning))
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), sanitize.Text(done))
	return err
}
