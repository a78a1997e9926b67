package nested

import (
	"context"
	"errors"
	"io"

	"github.com/nestedoci/nested/remotes/auth"
)

// candidateReader reads content from the first repository that has it. It
// asks nothing before the first Read, so that a caller that resumes can Seek
// first, and asks once.
type candidateReader struct {
	ctx     context.Context
	fetcher *Fetcher
	sought  sought

	offset int64
	body   io.ReadCloser
	served auth.Repository // whose the body is
	err    error
}

var _ io.ReadSeekCloser = (*candidateReader)(nil)

// Read implements [io.Reader].
func (r *candidateReader) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.body != nil {
		n, err = r.body.Read(p)
		err = r.named(err)
	} else {
		n, err = r.open(p)
	}
	r.offset += int64(n)
	return n, err
}

// open finds the repository, and with it the first bytes: a fetcher may say
// only when it is read from that it has nothing.
func (r *candidateReader) open(p []byte) (n int, end error) {
	r.served, r.err = r.fetcher.fetchFirst(r.ctx, r.sought, func(body io.ReadCloser) (err error) {
		if n, end, err = readAt(body, r.offset, p); err != nil {
			return errors.Join(err, body.Close())
		}
		r.body = body
		return nil
	})
	if r.err != nil {
		return 0, r.err
	}
	return n, end
}

// named makes an [Error] of what ends the reading of a child's content.
func (r *candidateReader) named(err error) error {
	root := r.fetcher.locations.root
	if err == nil || errors.Is(err, io.EOF) || r.served == root {
		return err
	}
	return &Error{root, r.sought.places[0].First(), r.sought.desc.Digest, err, []Attempt{{r.served, err}}}
}

// readAt reads the first bytes from an offset on. The end is not an error.
func readAt(body io.Reader, offset int64, p []byte) (n int, end, err error) {
	if seeker, ok := body.(io.Seeker); ok && offset > 0 {
		_, err = seeker.Seek(offset, io.SeekStart)
	} else if offset > 0 {
		_, err = io.CopyN(io.Discard, body, offset)
	}
	if err != nil {
		return 0, nil, err
	}
	n, err = body.Read(p)
	if errors.Is(err, io.EOF) {
		return n, io.EOF, nil
	}
	return n, nil, err
}

// Seek implements [io.Seeker].
func (r *candidateReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.sought.places[0].descriptor.Size
	}
	if offset < 0 {
		return 0, errors.New("seek: negative offset")
	}
	if r.body != nil && offset != r.offset {
		seeker, ok := r.body.(io.Seeker)
		if !ok {
			return 0, errors.New("seek: the answer being read does not allow it")
		}
		if _, err := seeker.Seek(offset, io.SeekStart); err != nil {
			return 0, err
		}
	}
	r.offset = offset
	return offset, nil
}

// Close implements [io.Closer].
func (r *candidateReader) Close() error {
	r.err = io.ErrClosedPipe
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
