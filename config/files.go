package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// CheckFile refuses a configuration file that somebody else than root and the
// user of this process could change: by writing it, or by putting another one
// in its place in one of the directories on the way to it, symbolic links
// included. The error is then an [*Error] with the command that puts it right.
func CheckFile(path string) error { return checkWay(path, 0o022) }

// CheckSecret is [CheckFile] for files that nobody else may read either.
func CheckSecret(path string) error { return checkWay(path, 0o066) }

// checkWay goes the way to a file as the system does, component by component.
// The file's mode must not have the forbidden bits.
func checkWay(path string, forbidden fs.FileMode) error {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		path = dir + string(filepath.Separator) + path // not cleaned: a/link/.. is not a
	}
	at := filepath.VolumeName(path) + string(filepath.Separator)
	rest := append([]string{"."}, components(path)...)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if wrong, right := distrust(next, info, forbidden); wrong != "" {
			return &Error{[]Problem{{File: next, Wrong: wrong, Right: right}}}
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return &fs.PathError{Op: "follow", Path: path, Err: errors.New("too many symbolic links")}
			}
			if at, rest, err = follow(at, next, rest); err != nil {
				return err
			}
		case info.IsDir() && len(rest) > 0:
			at = next
		case !info.Mode().IsRegular() || len(rest) > 0:
			return &Error{[]Problem{{File: next, Wrong: "is not a regular file", Right: "name a file"}}}
		}
	}
	return nil
}

// maxLinks bounds the symbolic links on the way to a file, as Linux does.
const maxLinks = 40

// follow returns where a link in a directory leads, and what is left to go.
func follow(dir, link string, rest []string) (string, []string, error) {
	target, err := os.Readlink(link)
	if err != nil {
		return "", nil, err
	}
	if filepath.IsAbs(target) {
		dir = filepath.VolumeName(target) + string(filepath.Separator)
	}
	return dir, append(components(target), rest...), nil
}

// components are the steps of a path after its root; some may be "..".
func components(path string) []string {
	return strings.FieldsFunc(path[len(filepath.VolumeName(path)):], func(r rune) bool {
		return r < utf8.RuneSelf && os.IsPathSeparator(uint8(r))
	})
}

// checkDocker is [CheckFile] for a Docker configuration file, or a directory
// with a config.json.
func checkDocker(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "config.json")
	}
	return CheckFile(path)
}

// checkFiles checks the files that the configuration names.
func (d *document) checkFiles() {
	g := d.config.Gateway
	const installed = "nestctl install makes it"
	d.checkNamed("gateway.certificate", g.Certificate, installed, CheckSecret)
	d.checkNamed("gateway.client_ca", g.ClientCA, installed, CheckFile)
	if g.Mode == "node" {
		for i, path := range d.config.Credentials.DockerConfig {
			if bad := new(Error); filepath.IsAbs(path) && errors.As(checkDocker(path), &bad) { // others are passed over, or fail the pull
				d.untrusted("credentials.docker_config", i+1, bad.Problems[0])
			}
		}
	}
	if path := d.config.Credentials.KubeletProviders; g.Mode == "node" && path != "" {
		d.checkNamed("credentials.kubelet_credential_providers", path, "name the file that the kubelet has", CheckFile)
	}
	ours, err := filepath.EvalSymlinks(g.HostsDir)
	theirs, errTheirs := filepath.EvalSymlinks(containerdCerts)
	if err == nil && errTheirs == nil && overlap(ours, theirs) && !overlap(g.HostsDir, containerdCerts) {
		d.locate(Problem{Key: "gateway.hosts_dir", Wrong: "gateway.hosts_dir leads to " + shownPath(ours),
			Right: "must have nothing to do with containerd's " + containerdCerts})
	}
}

// checkNamed notes what is wrong with a file that must be there, unless the
// rules have refused its name. missing is what to do when it is not.
func (d *document) checkNamed(key, path, missing string, check func(string) error) {
	if d.bad[key] || !filepath.IsAbs(path) {
		return
	}
	var bad *Error
	switch err := check(path); {
	case err == nil:
	case errors.As(err, &bad):
		d.untrusted(key, 0, bad.Problems[0])
	case errors.Is(err, fs.ErrNotExist):
		d.locate(Problem{Key: key, Wrong: key + ": " + shownPath(path) + " does not exist", Right: missing})
	default:
		d.locate(Problem{Key: key, Wrong: key + ": " + err.Error(), Right: "must be a file within reach"})
	}
}

func (d *document) untrusted(key string, element int, p Problem) {
	d.locate(Problem{Key: key, element: element, Wrong: key + ": " + shownPath(p.File) + " " + p.Wrong, Right: p.Right})
}
