package auth

import (
	"fmt"
	"os"
	"strings"
)

// sessionLeader reports whether the process leads a session of its own.
func sessionLeader() bool {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return false
	}
	// After the name in parentheses: state, parent, group, session.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return len(fields) > 3 && fields[3] == fmt.Sprint(os.Getpid())
}
