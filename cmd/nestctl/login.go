package main

import (
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/login"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

func newLogin(s *settings) *cobra.Command {
	var o login.Options
	c := &cobra.Command{
		Use:   "login HOST[/PATH]",
		Short: "Save a credential for a registry, or for a repository and those below it",
		Long: `Verifies the credential at the registry first. With a PATH it must give the right
to pull from that repository, or from the one below it that --verify names. Then
the credential is written where docker keeps it: to $DOCKER_CONFIG/config.json, or
to the credential helper that is configured there.`,
		Example: `  nestctl login registry.example.com
  nestctl login --username ci --password-stdin registry.example.com/org/app < token`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.In, o.Out, o.Notes = cmd.InOrStdin(), sanitize.Log{Writer: cmd.OutOrStdout()}, sanitize.Log{Writer: cmd.ErrOrStderr()}
			return login.Login(cmd.Context(), args[0], o, func(of auth.Source, at auth.Repository) (*registry.Client, func() error, error) {
				s.credentials = of
				return s.around(at, new(registry.Metrics))
			})
		},
	}
	c.Flags().StringVarP(&o.Username, "username", "u", "", "user `name`")
	c.Flags().BoolVar(&o.PasswordFromInput, "password-stdin", false, "read the password from standard input, not from the terminal")
	c.Flags().StringVar(&o.Verify, "verify", "", "verify the credential with this `repository` below PATH")
	return c
}

func newLogout() *cobra.Command {
	return &cobra.Command{
		Use:     "logout HOST[/PATH]",
		Short:   "Remove the credential for a registry or a repository",
		Long:    "Removes the credential of exactly this key; those of repositories below it stay.",
		Example: "  nestctl logout registry.example.com/org/app",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return login.Logout(cmd.Context(), args[0], sanitize.Log{Writer: cmd.OutOrStdout()}, sanitize.Log{Writer: cmd.ErrOrStderr()})
		},
	}
}
