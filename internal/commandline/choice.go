package commandline

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// choice is the value of a flag that is one of a few words.
type choice struct {
	value   *string
	allowed []string
}

// ChoiceVar adds a flag of which the value is one of the words allowed. Others are
// refused when the flag is read; shells complete it. The value stays standard
// without the flag, which may be "" for none.
func ChoiceVar(flags *pflag.FlagSet, value *string, name, standard, meaning string, allowed ...string) {
	*value = standard
	flags.Var(&choice{value, allowed}, name, meaning)
}

func (c *choice) String() string { return *c.value }

// Type is what help shows as the value.
func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

func (c *choice) Set(value string) error {
	if !slices.Contains(c.allowed, value) {
		return errors.New("must be one of " + strings.Join(c.allowed, ", "))
	}
	*c.value = value
	return nil
}
