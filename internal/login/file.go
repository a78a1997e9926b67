package login

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nestedoci/nested/remotes/auth"
)

// maxFile bounds a configuration file; docker's own are a few KiB.
const maxFile = 4 << 20

// File is the path of the configuration file that package auth reads first:
// REGISTRY_AUTH_FILE, or else $DOCKER_CONFIG/config.json, or else
// ~/.docker/config.json.
func File() (string, error) {
	files := auth.StoresFromEnvironment().Files
	if len(files) == 0 {
		return "", errors.New("there is no home directory; set DOCKER_CONFIG")
	}
	return files[0], nil
}

// change replaces a configuration file by one that edit has changed, so that readers
// see the old one or the new one. A symbolic link stays one: what it leads to is
// replaced. The file is for its owner alone from then on, as it holds secrets.
// Changes of other processes that use this function are waited for.
func change(path string, edit func(*object) error) error {
	path, err := target(path)
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	lock(dir)
	old, info, err := read(path)
	if err != nil {
		return err
	}
	text, err := edited(old, edit)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if text == nil {
		return nil
	}
	return replace(path, old, info, text)
}

// edited is the text of an edited object; nil when the edit has changed nothing.
func edited(old []byte, edit func(*object) error) ([]byte, error) {
	o, err := parseObject(old)
	if err != nil {
		return nil, err
	}
	before, err := o.MarshalJSON()
	if err == nil {
		err = edit(&o)
	}
	if err != nil {
		return nil, err
	}
	if after, err := o.MarshalJSON(); err != nil || bytes.Equal(before, after) {
		return nil, err
	}
	return o.text()
}

// target is the file to which symbolic links lead, which need not exist.
func target(path string) (string, error) {
	for range 40 { // as the system has it
		to, err := os.Readlink(path)
		if err != nil {
			return filepath.Abs(path)
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// read reads a configuration file; nothing, and no info, where there is none.
func read(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a file; set DOCKER_CONFIG to a directory of your own", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, info, err
}

// replace writes a file beside the old one, and renames it.
func replace(path string, old []byte, info fs.FileInfo, text []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)) // for its owner alone
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(text)
	if err == nil && info != nil {
		err = keepOwner(file, info)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	now, _, err := read(path) // docker takes no lock
	if err != nil {
		return err
	}
	if !bytes.Equal(now, old) {
		return fmt.Errorf("%s has been changed meanwhile; run the same command again", path)
	}
	return os.Rename(file.Name(), path)
}
