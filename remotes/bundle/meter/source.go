package meter

import (
	"errors"
	"fmt"
	"io"
)

// Source is a body that is uploaded. It remembers its error, so that errors in
// reading can be told from those of the upload.
type Source struct {
	body io.Reader
	most int64 // bytes
	read int64
	err  error
}

// NewSource returns a source of a body that may have so many bytes.
func NewSource(body io.Reader, most int64) *Source { return &Source{body: body, most: most} }

// Err is why the body could not be read; nil while it could.
func (s *Source) Err() error { return s.err }

// Read implements io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if s.read += int64(n); s.read > s.most {
		n, err = 0, fmt.Errorf("more than the %d bytes of its descriptor", s.most)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Seek implements io.Seeker, for an upload that begins again.
func (s *Source) Seek(offset int64, whence int) (int64, error) {
	seeker, ok := s.body.(io.Seeker)
	if !ok {
		return 0, errors.New("its source cannot be read again")
	}
	at, err := seeker.Seek(offset, whence)
	s.read = at
	return at, err
}
