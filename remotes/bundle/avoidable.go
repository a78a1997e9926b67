package bundle

import (
	"fmt"

	"github.com/nestedoci/nested/internal/usage"
)

// AvoidableError is an error that another choice would have avoided: By says which,
// so that a program can say what it is called there. Its text is the cause alone.
type AvoidableError = usage.Avoidable

// What avoids errors: options, by the names of their fields, and functions.
const (
	BySparse      usage.Choice = "Options.Sparse"
	BySelection   usage.Choice = "Options.Selection" // another one
	ByAll         usage.Choice = "Options"           // that leave out nothing
	ByFromParents usage.Choice = "CopyOptions.FromParents"
	ByFlatten     usage.Choice = "CopyOptions.Flatten"
	ByNoProtect   usage.Choice = "PublishOptions.NoProtect"
	ByStrategy    usage.Choice = "PublishOptions.Strategy" // another one
	ByNewIndex    usage.Choice = "NewIndex"                // in place of EditIndex
	ByRemove      usage.Choice = "Edit.Remove"             // of the member
	ByCopy        usage.Choice = "AddOptions.Copy"
)

// avoidable is an error with a text and causes as those of fmt.Errorf.
func avoidable(by usage.Choice, format string, args ...any) error {
	return &AvoidableError{Err: fmt.Errorf(format, args...), By: by}
}
