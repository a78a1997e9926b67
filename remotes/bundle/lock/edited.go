package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
)

// ByRewriting is what mends a lock that cannot be read: [New].
const ByRewriting usage.Choice = "lock.Parse"

// unreadable is the error for a text that is no lock, and what mends it.
func unreadable(err error) error {
	if newer, ok := errors.AsType[*InvalidError](err); ok {
		return newer
	}
	return &InvalidError{Err: &usage.Avoidable{Err: err, By: ByRewriting}}
}

// conflict is a line that git leaves where a merge has not been resolved.
var conflict = regexp.MustCompile(`(?m)^(<<<<<<<|=======|>>>>>>>|\|\|\|\|\|\|\|)( |\r?$)`)

// checkText finds what editors and merges make of a file, and what package json
// would call invalid characters.
func checkText(data []byte) error {
	switch at := conflict.FindIndex(data); {
	case at != nil:
		return fmt.Errorf("line %d: a git conflict that has not been resolved", lineOf(data, at[0]))
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return errors.New("it begins with a byte order mark, which JSON does not have")
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("it is empty")
	}
	return nil
}

// explained is an error of package json about a text, for people: with the line,
// and without the types of Go.
func explained(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &syntax) && syntax.Offset >= int64(len(data)):
		return fmt.Errorf("line %d: it ends in the middle", lineOf(data, len(data)))
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %s is a %s, and not %s", lineOf(data, int(kind.Offset)), sanitize.Quote(kind.Field), sanitize.Message(kind.Value), kindOf(kind.Type))
	case errors.As(err, &syntax):
		at := int(syntax.Offset) - 1
		if before := bytes.TrimSpace(data[:at]); bytes.HasSuffix(before, []byte(",")) && strings.ContainsRune("]}", rune(data[at])) {
			return fmt.Errorf("line %d: a comma before the %c", lineOf(data, len(before)), data[at])
		}
		return fmt.Errorf("line %d: %s", lineOf(data, at), sanitize.Message(err.Error()))
	}
	return errors.New(sanitize.Message(strings.TrimPrefix(err.Error(), "json: ")))
}

// lineOf is the line of an offset, from 1.
func lineOf(data []byte, offset int) int {
	return 1 + bytes.Count(data[:max(0, min(offset, len(data)))], []byte("\n"))
}

// kindOf is what a value has to be, in the words of JSON.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a string"
}
