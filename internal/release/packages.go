package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// packager is a format of packages.
type packager interface {
	Package(info *nfpm.Info, w io.Writer) error
	ConventionalFileName(info *nfpm.Info) string
}

// packages writes a package of each format. What is in them is collected in a directory, as nfpm reads files.
func (s source) packages(b build, pages []page) error {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for format, p := range map[string]packager{"deb": deb.Default, "rpm": rpm.DefaultRPM} {
		contents, err := s.contents(b, format, filepath.Join(dir, format), pages)
		if err != nil {
			return err
		}
		info := func() *nfpm.Info { return s.info(b, contents) } // packagers change it
		// Where releases are downloaded from, a file may not have the ~ of pre-releases in its name.
		path := filepath.Join(s.root, "dist", strings.ReplaceAll(p.ConventionalFileName(info()), "~", "-"))
		if err = create(path, func(w io.Writer) error { return p.Package(info(), w) }); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

// info describes a package. Programs are static, so that it depends on nothing; what containerd runs is suggested
// alone, because Debian starts a service when it installs containerd.
func (s source) info(b build, contents files.Contents) *nfpm.Info {
	script := func(name string) string { return filepath.Join(s.root, "internal/release/scripts", b.name+"."+name) }
	arch := b.arch
	if arch == "arm" {
		arch = "arm6" // as GOARM has it
	}
	info := &nfpm.Info{
		Name: b.name, Arch: arch, Version: s.version, Section: "admin", License: "Apache-2.0", MTime: s.time,
		Maintainer: "nested maintainers <nestedoci@users.noreply.github.com>", Vendor: "nested", Homepage: repository,
		Description: b.summary + "\n" + b.description, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Contents: contents,
			Scripts:  nfpm.Scripts{PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm")},
			RPM:      nfpm.RPM{BuildHost: "localhost", Summary: b.summary},
		},
	}
	if b.units {
		info.Recommends = []string{"ca-certificates"}
	} else {
		info.Suggests = []string{"containerd", "runc"}
	}
	return nfpm.WithDefaults(info)
}

// entry is a file of a package.
type entry struct {
	at, kind string
	from     string      // the file that it is, in the repository or elsewhere
	mode     os.FileMode // 0 for 0644
	text     []byte
}

// contents are the files of a package, which are written to a directory.
func (s source) contents(b build, format, dir string, pages []page) (files.Contents, error) {
	entries, err := s.entries(b, format)
	if err != nil {
		return nil, err
	}
	for _, p := range pages {
		if p.at == "" {
			continue
		}
		text, err := p.packed()
		if err != nil {
			return nil, err
		}
		if format == "deb" { // Debian's zsh does not look where others do
			p.at = strings.Replace(p.at, "/zsh/site-functions/", "/zsh/vendor-completions/", 1)
		}
		entries = append(entries, entry{at: p.at, kind: files.TypeFile, mode: 0o644, text: text})
	}
	var all files.Contents
	for _, e := range entries {
		path := filepath.Join(dir, e.at)
		if err := writeFile(path, e.text); err != nil {
			return nil, err
		}
		all = append(all, &files.Content{
			Source: path, Destination: e.at, Type: e.kind,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: e.mode},
		})
	}
	for _, dir := range b.directories(format) {
		all = append(all, &files.Content{Destination: dir, Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Mode: 0o755}})
	}
	return all, nil
}

// directories are those that go with the package; rpm would leave them.
func (b build) directories(format string) []string {
	all := []string{"/usr/share/doc/" + b.name}
	if format == "rpm" {
		all = append(all, "/usr/share/licenses/"+b.name)
	}
	if b.units {
		return append(all, "/etc/nested")
	}
	return append(all, "/usr/share/"+b.name)
}

// entries are the program, what it is configured with, and what there is to read.
func (s source) entries(b build, format string) ([]entry, error) {
	all := []entry{
		{at: "/usr/bin/" + b.name, from: s.path(b), mode: 0o755},
		{at: "/usr/share/doc/" + b.name + "/README.md", from: "README.md"},
	}
	if format == "rpm" {
		all = append(all, entry{at: "/usr/share/licenses/" + b.name + "/LICENSE", from: "LICENSE", kind: files.TypeRPMLicense})
	} else {
		all = append(all, entry{at: "/usr/share/doc/" + b.name + "/copyright", from: "LICENSE"})
	}
	if b.units {
		all = append(all,
			entry{at: "/usr/lib/systemd/system/nested-serve.service", from: "deploy/systemd/nested-serve.service"},
			entry{at: "/etc/nested/serve.toml", from: "deploy/systemd/serve.toml", kind: files.TypeConfigNoReplace})
	} else {
		all = append(all, entry{at: "/usr/share/containerd-nested/nested.conf", from: "deploy/systemd/containerd-nested.conf"})
	}
	for i := range all {
		e := &all[i]
		if !filepath.IsAbs(e.from) {
			e.from = filepath.Join(s.root, e.from)
		}
		text, err := os.ReadFile(e.from)
		if err != nil {
			return nil, err
		}
		e.text = bytes.ReplaceAll(text, []byte("/usr/local/bin/nestctl "), []byte("/usr/bin/nestctl "))
		e.mode = cmp.Or(e.mode, 0o644)
	}
	return all, nil
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
