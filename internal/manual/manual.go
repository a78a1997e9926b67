// Package manual writes the manual pages of a program, one for each command that
// is not hidden, from the texts that --help prints. manual.go writes the files;
// page.go says what is on a page, and roff.go how man(7) spells it.
package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Command returns the hidden command that writes the manual pages of the program
// that it is added to, of this version.
func Command(version string) *cobra.Command {
	return &cobra.Command{
		Use:    "manual DIR",
		Short:  "Write the manual pages to a directory",
		Long:   "The pages have the date of SOURCE_DATE_EPOCH, or of today.",
		Hidden: true, // for those who make packages
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := sourceDate()
			if err != nil {
				return err
			}
			return Write(cmd.Root(), args[0], version, date)
		},
	}
}

// Write writes the pages into a directory, which it makes. They are the same
// bytes for the same commands, version and day.
func Write(root *cobra.Command, dir, version string, date time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pages are for everybody
		return err
	}
	return eachCommand(root, func(c *cobra.Command) error {
		file := filepath.Join(dir, name(c)+".1")
		return os.WriteFile(file, []byte(page(c, version, date)), 0o644) //nolint:gosec // as above
	})
}

// eachCommand calls visit for a command and those below it that users may call.
func eachCommand(c *cobra.Command, visit func(*cobra.Command) error) error {
	if err := visit(c); err != nil {
		return err
	}
	for _, below := range c.Commands() {
		if !below.IsAvailableCommand() {
			continue
		}
		if err := eachCommand(below, visit); err != nil {
			return err
		}
	}
	return nil
}

// name is the name of a page: that of git's manual, nestctl-index-create.
func name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// sourceDate is the date of a reproducible build, as
// https://reproducible-builds.org/docs/source-date-epoch/ says.
func sourceDate() (time.Time, error) {
	text, ok := os.LookupEnv("SOURCE_DATE_EPOCH")
	if !ok {
		return time.Now().UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: must be seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
