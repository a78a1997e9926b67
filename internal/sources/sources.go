// Package sources finds out which images are meant by what people have: the
// arguments of a command, and the files that builders and deployments leave.
//
// Read the files in this order:
//
//   - sources.go: a [Source] is a reference, maybe with a name. [Read] reads
//     arguments and files;
//   - recognise.go: which of the [Formats] a text is in. What could be in two is
//     refused;
//   - refs.go, bake.go, compose.go: the formats. Kubernetes manifests are read by
//     package pin.
//
// Targets of bake, services and containers are no names of images: several may
// use the same one. Nothing here makes requests.
package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nestedoci/nested/internal/pin"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// Source is an image, artifact or index that somebody names.
type Source struct {
	Reference auth.Reference
	Tag       string // that is written beside a digest; "" for none
	Name      string // that it is given; "" for none
}

// Options say how sources are read.
type Options struct {
	Format string // of all files, one of [Formats]; "" to recognise that of each
	// Below is the repository below which an image is preferred that a builder
	// pushed under several names.
	Below auth.Repository
	// Parse reads a reference, and the tag that is written in it; nil is
	// [auth.ParseWritten].
	Parse func(string) (auth.Reference, string, error)
}

// maxSources is what one index may hold (docs/spec.md, section 5).
const maxSources = 10_000

// Read reads sources, each once: those in args, each [NAME=]REFERENCE, and then
// those of files, in their order, up to 8 MiB in all. paths name files,
// directories, for the *.yaml, *.yml and *.json in them, and "-" for stdin.
// References are read as docker does. A file without images is an error: nothing
// can be told from it. Errors about files say the file, and where there is one
// the line.
func Read(ctx context.Context, stdin io.Reader, args, paths []string, o Options) ([]Source, error) {
	if o.Parse == nil {
		o.Parse = auth.ParseWritten
	}
	var all []Source
	for _, arg := range args {
		s, err := o.named(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	texts, err := pin.ReadTexts(ctx, stdin, paths, "files")
	if err != nil {
		return nil, err
	}
	for _, t := range texts {
		found, err := o.read(t)
		if err != nil {
			return nil, err
		}
		if all = append(all, found...); len(all) > maxSources {
			return nil, fmt.Errorf("%s: more than %d images", t.Name, maxSources)
		}
	}
	return unique(all), nil
}

// named reads [NAME=]REFERENCE. A reference cannot contain "=".
func (o Options) named(text string) (Source, error) {
	name, ref, named := strings.Cut(text, "=")
	if !named {
		name, ref = "", text
	}
	s, err := o.reference(ref)
	s.Name = name
	return s, err
}

// reference is a source without a name.
func (o Options) reference(text string) (Source, error) {
	ref, tag, err := o.Parse(text)
	if ref.Digest() == "" {
		tag = "" // the reference has it
	}
	return Source{Reference: ref, Tag: tag}, err
}

// read reads the sources of one text.
func (o Options) read(t pin.Text) (found []Source, err error) {
	if t.Bytes, err = plainText(t); err != nil {
		return nil, err
	}
	format := o.Format
	if format == "" {
		if format, err = recognise(t); err != nil {
			return nil, err
		}
	}
	switch format {
	case Refs:
		found, err = o.readRefs(t)
	case Bake:
		found, err = o.readBake(t)
	case Compose:
		found, err = o.readCompose(t)
	case Kubernetes:
		found, err = o.readKubernetes(t)
	default:
		return nil, usage.Optionf("from-format", " %.64q: must be one of %s", format, strings.Join(Formats(), ", "))
	}
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: no images in it", t.Name)
	}
	return found, err
}

// readKubernetes reads the images of Kubernetes manifests.
func (o Options) readKubernetes(t pin.Text) ([]Source, error) {
	images, err := t.Images()
	if err != nil {
		return nil, err
	}
	var found []Source
	for _, image := range images {
		if strings.TrimSpace(image.Ref) == "" {
			continue // to be filled in by the cluster
		}
		s, err := o.imageAt(t, image.Line, image.Ref)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, nil
}

// imageAt reads the value of a key "image".
func (o Options) imageAt(t pin.Text, line int, value string) (Source, error) {
	s, err := o.reference(strings.TrimSpace(value))
	if err != nil {
		if strings.Contains(value, "{{") || strings.Contains(value, "$") {
			err = fmt.Errorf("%w; templates and variables must be filled in first (helm template, docker compose config)", err)
		}
		return Source{}, at(t, line, err)
	}
	return s, nil
}

// at is an error about a line of a text. It has no class: how a reference is
// written in a file is no misuse of a flag.
func at(t pin.Text, line int, err error) error { return fmt.Errorf("%s:%d: %v", t.Name, line, err) } //nolint:errorlint // see above

var errNotText = errors.New("not a text in UTF-8")

// unique leaves out sources that are named again: with the same name, or without
// one.
func unique(all []Source) []Source {
	names := map[Source][]string{} // of each without a name
	for _, s := range all {
		name := s.Name
		s.Name = ""
		if name != "" && !slices.Contains(names[s], name) {
			names[s] = append(names[s], name)
		}
	}
	seen := map[Source]bool{}
	var once []Source
	for _, s := range all {
		if given := names[s]; len(given) > 0 {
			s.Name = given[0]
		}
		if !seen[s] {
			seen[s] = true
			once = append(once, s)
		}
	}
	return once
}
