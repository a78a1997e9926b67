//go:build !windows

package terminal

import "os"

// obeys reports whether a terminal obeys escape sequences. One that does not say
// what it is, as in a container without TERM, may not.
func obeys(*os.File) bool { return os.Getenv("TERM") != "" }
