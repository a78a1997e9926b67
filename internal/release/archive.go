package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"time"
)

// member is a file in an archive.
type member struct {
	name string
	mode os.FileMode
	text []byte
}

// archive writes the program with its licence and pages: a zip file for Windows, a tar file elsewhere.
func (s source) archive(b build, pages []page) error {
	program, err := os.ReadFile(s.path(b))
	if err != nil {
		return err
	}
	members := []member{{b.file(), 0o755, program}}
	for _, name := range []string{"LICENSE", "README.md"} {
		text, err := os.ReadFile(filepath.Join(s.root, name))
		if err != nil {
			return err
		}
		members = append(members, member{name, 0o644, text})
	}
	for _, p := range pages {
		members = append(members, member{p.name, 0o644, p.text})
	}
	if b.os == "windows" {
		return create(s.dist(b, ".zip"), func(w io.Writer) error { return writeZip(w, members, s.time) })
	}
	return create(s.dist(b, ".tar.gz"), func(w io.Writer) error { return writeTar(w, members, s.time) })
}

// writeTar says nothing of this machine: no user, no time but that of the release.
func writeTar(w io.Writer, members []member, at time.Time) error {
	compressed := newGzip(w)
	archive := tar.NewWriter(compressed)
	for _, m := range members {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.text)), Mode: int64(m.mode), ModTime: at,
			Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := archive.Write(m.text); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func writeZip(w io.Writer, members []member, at time.Time) error {
	archive := zip.NewWriter(w)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: at}
		h.SetMode(m.mode)
		out, err := archive.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := out.Write(m.text); err != nil {
			return err
		}
	}
	return archive.Close()
}

// newGzip compresses without a name and a time.
func newGzip(w io.Writer) *gzip.Writer {
	out, _ := gzip.NewWriterLevel(w, gzip.BestCompression) // the level is a valid one
	return out
}

// create writes a file of the release, which everybody may read.
func create(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
