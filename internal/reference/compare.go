package reference

import (
	"fmt"
	"os"
)

// Compare says how the file at path differs from what it should be, or writes
// it when update is set. The error names the command that writes it.
func Compare(path, want, command string, update bool) error {
	if update {
		return os.WriteFile(path, []byte(want), 0o644)
	}
	has, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(has) != want {
		return fmt.Errorf("%s: does not say what the code says; run %s", path, command)
	}
	return nil
}
