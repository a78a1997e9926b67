//go:build !linux

package auth

// sessionLeader cannot be found out here.
func sessionLeader() bool { return true }
