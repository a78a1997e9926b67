package login

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// maxPassword bounds what is read: tokens that serve as passwords have some KiB.
const maxPassword = 64 << 10

// Ask returns a user's credential. The password is all of the input, without a line
// end, when fromInput says so; else it is asked for on the terminal that in and out
// are, and not shown. There is no other way, so that it is in no list of processes
// and in no history.
func Ask(in io.Reader, out io.Writer, username string, fromInput bool) (auth.Credential, error) {
	if fromInput {
		return ofInput(in, username)
	}
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return auth.Credential{}, usage.Errorf("there is no terminal to ask for the password; use --password-stdin")
	}
	if username == "" {
		fmt.Fprint(out, "Username: ")
		line, err := bufio.NewReader(file).ReadString('\n')
		if err != nil {
			return auth.Credential{}, err
		}
		username = strings.TrimSpace(line)
	}
	fmt.Fprint(out, "Password: ")
	password, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(out)
	if err != nil {
		return auth.Credential{}, err
	}
	return credential(username, string(password))
}

func ofInput(in io.Reader, username string) (auth.Credential, error) {
	if username == "" {
		return auth.Credential{}, usage.Errorf("--password-stdin needs --username")
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPassword+1))
	if err != nil {
		return auth.Credential{}, err
	}
	return credential(username, strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"))
}

// credential refuses what docker's file cannot hold.
func credential(username, password string) (auth.Credential, error) {
	switch {
	case username == "" || strings.Contains(username, ":") || strings.ContainsFunc(username, unicode.IsControl):
		return auth.Credential{}, usage.Errorf("user name %.64q: must not be empty, or contain colons or control characters", username)
	case password == "":
		return auth.Credential{}, usage.Errorf("the password is empty")
	case len(password) > maxPassword || strings.ContainsAny(password, "\x00\r\n"):
		return auth.Credential{}, usage.Errorf("the password has several lines, or more than %d bytes", maxPassword)
	}
	return auth.UserCredential(username, password, "the password given for user "+username), nil
}
