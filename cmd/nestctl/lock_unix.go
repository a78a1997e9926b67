//go:build unix

package main

import (
	"errors"
	"os"
	"syscall"
)

// lockDir keeps other pulls out of a directory.
func lockDir(dir string) (unlock func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another pull is writing here"), d.Close())
	}
	return d.Close, nil
}

// checkOwn refuses a directory that somebody else has put in place.
func checkOwn(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
		return errors.New(dir + " is in the way, and not ours; remove it")
	}
	return nil
}

// syncFile brings what was written to a file to the disk, or the names in a
// directory.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
