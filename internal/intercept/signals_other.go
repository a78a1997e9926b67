//go:build !unix

package intercept

import "os/exec"

// signals are none here.
type signals struct{}

func watchSignals() signals { return signals{} }

func (signals) close() {}

func (signals) run(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return started(cmd.Args[0], err)
	}
	return ended(cmd.Wait())
}
