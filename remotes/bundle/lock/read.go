package lock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/contextio"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// InvalidError says that a lock cannot be read, or that a bundle is not what it
// says. Its class is errdefs.ErrInvalidArgument.
type InvalidError struct {
	Name string // of the file; "" when it has none
	Err  error
}

func (e *InvalidError) Error() string {
	return strings.TrimSpace("lock "+e.Name) + ": " + e.Err.Error()
}

// Unwrap gives the error its class and its cause.
func (e *InvalidError) Unwrap() []error { return []error{errdefs.ErrInvalidArgument, e.Err} }

// ReadFile reads a lock from a file. Errors: those of the file system, and
// [InvalidError], and the cause of ctx's end, also when a pipe waits for a
// writer.
func ReadFile(ctx context.Context, name string) (*Lock, error) {
	data, err := contextio.ReadFile(ctx, name, maxSize+1)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	l, err := Parse(data)
	var bad *InvalidError
	if errors.As(err, &bad) {
		bad.Name = name
		return nil, bad
	}
	l.name = name
	return l, nil
}

// Parse reads a lock as [Lock.Write] writes it, in any layout and order. What a
// strict reading of JSON refuses is an [InvalidError], and so are keys that
// the version does not have: a lock must not say more than is understood.
func Parse(data []byte) (*Lock, error) {
	l := &Lock{}
	err := decode(data, l)
	if err == nil {
		err = l.check()
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return l, nil
}

func decode(data []byte, l *Lock) error {
	switch {
	case len(data) > maxSize:
		return fmt.Errorf("more than %s", amount.Bytes(maxSize))
	case !utf8.Valid(data):
		return errors.New("not UTF-8")
	}
	if err := checkText(data); err != nil {
		return err
	}
	var is struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &is); err != nil {
		return explained(data, err)
	}
	if is.Version != version {
		return &InvalidError{Err: fmt.Errorf("version %d: only version %d is known; use a newer version of this program", is.Version, version)}
	}
	if err := checkKeys(data); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return explained(data, decoder.Decode(l))
}

// keys are those of all objects but Content.
var keys = []string{
	"version", "repository", "tag", "root", "carrier", "platform", "selected", "members", "content",
	"digest", "mediaType", "size", "platforms", "namespace", "origins",
}

// checkKeys refuses what package json lets pass: keys that an object has twice,
// as after a merge, and keys in another case.
func checkKeys(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	type level struct {
		keys map[string]bool // nil in a list
		key  bool            // the next string is a key
	}
	var levels []level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return explained(data, err)
		}
		top := len(levels) - 1
		if name, ok := token.(string); ok && top >= 0 && levels[top].key {
			if levels[top].keys[name] {
				return fmt.Errorf("line %d: the key %s is there twice", lineOf(data, int(decoder.InputOffset())), sanitize.Quote(name))
			}
			if !slices.Contains(keys, name) && !strings.Contains(name, ":") {
				return fmt.Errorf("line %d: unknown key %s", lineOf(data, int(decoder.InputOffset())), sanitize.Quote(name))
			}
			levels[top].keys[name], levels[top].key = true, false
			continue
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{map[string]bool{}, true})
			continue
		case json.Delim('['):
			levels = append(levels, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
			top--
		}
		if top >= 0 { // a value has ended
			levels[top].key = levels[top].keys != nil
		}
	}
}

// check refuses values that no lock has.
func (l *Lock) check() (err error) {
	if l.repo, err = auth.ParseRepository(l.Repository); err != nil {
		return err
	}
	switch {
	case l.repo.String() != l.Repository:
		return fmt.Errorf("repository %s: its full spelling is %s", sanitize.Quote(l.Repository), l.repo)
	case l.Tag != "" && !auth.IsTag(l.Tag):
		return fmt.Errorf("tag %s: not one", sanitize.Quote(l.Tag))
	case l.Members == nil || l.Content == nil:
		return errors.New("members or content: missing")
	}
	if l.Carrier != "" {
		err = checkDigest(l.Carrier)
	}
	if err == nil {
		err = checkContent("root", l.Root.Digest, l.Root.MediaType, l.Root.Size)
	}
	for d, size := range l.Content {
		if err == nil {
			err = checkContent("content", d, "", size)
		}
	}
	if err == nil {
		err = checkPlatforms(append([]string{l.Platform}, l.Root.Platforms...))
	}
	if err == nil {
		_, err = l.matcher()
	}
	for _, s := range l.Selected {
		if err == nil {
			_, err = nested.ParseChild(s)
		}
	}
	if err != nil {
		return err
	}
	return l.checkMembers()
}

func (l *Lock) checkMembers() error {
	slices.SortFunc(l.Members, inOrder)
	type key struct {
		namespace string
		digest    digest.Digest
	}
	seen := map[key]bool{}
	for _, m := range l.Members {
		if _, err := nested.ParseChild(m.Namespace); err != nil {
			return err
		}
		err := checkContent("member "+m.Namespace, m.Digest, m.MediaType, m.Size)
		if err == nil {
			err = checkPlatforms(append([]string{m.Platform}, m.Platforms...))
		}
		for _, o := range m.Origins {
			if err == nil {
				_, err = bundle.ParseOrigin(o)
			}
		}
		k := key{m.Namespace, m.Digest}
		switch {
		case err != nil:
			return err
		case seen[k]:
			return fmt.Errorf("member %s: %s is there twice", m.Namespace, m.Digest)
		}
		seen[k] = true
		slices.Sort(m.Origins)
		slices.Sort(m.Platforms)
	}
	return nil
}

func checkContent(of string, d digest.Digest, mediaType string, size int64) error {
	switch {
	case checkDigest(d) != nil:
		return fmt.Errorf("%s: %w", of, checkDigest(d))
	case strings.ContainsFunc(mediaType, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("%s: media type %s: not printable ASCII", of, sanitize.Quote(mediaType))
	case size < 0:
		return fmt.Errorf("%s: size %d: impossible", of, size)
	}
	return nil
}

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %s: %w", sanitize.Quote(string(d)), err)
	}
	return nil
}

// checkPlatforms checks the spelling, by which platforms are compared. An index
// may name one that containerd does not know, which is kept.
func checkPlatforms(all []string) error {
	for _, s := range all {
		if s == "" {
			continue
		}
		if p, err := platforms.Parse(s); err == nil && platforms.Format(p) != s {
			return fmt.Errorf("platform %s: its spelling is %s", sanitize.Quote(s), platforms.Format(p))
		}
	}
	return nil
}
