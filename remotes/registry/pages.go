package registry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
)

// AnswerError says that a request for content was answered with 200 and with
// something that cannot be the content: a login page, an error in JSON,
// nothing. It has no class of errdefs: whether the content exists is not known.
type AnswerError struct {
	Host      string // who answered
	Of        string // the requested repository, as host/name, where it is known
	MediaType string // from the Content-Type
	Blob      bool   // a blob was requested
	List      bool   // … or a list of tags or referrers
	Write     bool   // … or content was sent
	Is        string // what the body is, when it is not a page
}

func (e *AnswerError) Error() string {
	got, expected := "200 "+printableType(MediaType(e.MediaType)), "not a manifest"
	if e.Is != "" {
		got += " with " + e.Is
	}
	switch {
	case e.Blob:
		expected = "not the blob"
	case e.List:
		expected = "not a list"
	case e.Write:
		expected = "not the answer to a push"
	}
	from := e.Host
	switch {
	case strings.HasPrefix(e.Of, e.Host+"/"):
		from = e.Of
	case e.Of != "":
		from = e.Of + ": " + e.Host
	}
	return fmt.Sprintf("%s: the registry answered %s, which is %s; check for a login page or proxy in front of it", from, got, expected)
}

// printableType is a media type for people, escaped and cut.
func printableType(t string) string {
	const shown = 64
	if t == "" {
		return "without a media type"
	}
	quoted := fmt.Sprintf("%+.*q", shown, t)
	return quoted[1 : len(quoted)-1]
}

// describeBody says what is wrong with a body, unless its media type says it.
func describeBody(mediaType string, data []byte) string {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return "nothing in it"
	case IsPage(mediaType):
		return ""
	case isMarkup(data):
		return "a page in it"
	case json.Valid(data):
		return "other JSON in it"
	}
	return "something else in it"
}

// checkPage refuses a page where a manifest was requested with GET or content
// was sent: verification would only say that the digest differs. The answer to
// a HEAD is not reliable; the caller repeats it as GET.
func checkPage(req *http.Request, resp *http.Response) error {
	t := MediaType(resp.Header.Get("Content-Type"))
	if isWrite(req.Method) && resp.StatusCode == http.StatusOK && IsPage(t) && resp.ContentLength != 0 { // frameworks give this type to nothing, too
		return retry.Final(&AnswerError{Host: req.URL.Host, MediaType: t, Write: true})
	}
	if req.Method != http.MethodGet || resp.StatusCode != http.StatusOK || !isOfManifest(req) || isVendors(t) && !oci.IsManifestOrIndex(t) {
		return nil
	}
	if expected, ok := oci.ExpectedType(req.Context()); ok && !oci.IsManifestOrIndex(expected) {
		return nil // an entry of another kind, which may be stored as a manifest
	}
	const looked = 64 // there is hardly white space before a page
	buffered := bufio.NewReaderSize(resp.Body, looked)
	begin, _ := buffered.Peek(1) // the reader of the body gets the error, too
	for n := 2; n <= looked && len(begin) == n-1 && len(bytes.TrimSpace(begin)) == 0; n++ {
		begin, _ = buffered.Peek(n)
	}
	resp.Body = bufferedBody{buffered, resp.Body}
	if isMarkup(begin) || IsPage(t) && !isObject(begin) {
		return retry.Final(&AnswerError{Host: req.URL.Host, Of: requestedRepository(req), MediaType: t, Is: describeBody(t, begin)})
	}
	return nil
}

func isWrite(method string) bool {
	return method == http.MethodPut || method == http.MethodPost || method == http.MethodPatch || method == http.MethodDelete
}

// bufferedBody is a body whose beginning has been looked at.
type bufferedBody struct {
	io.Reader
	io.Closer
}

// expectedSize is the key of the size of the blob that a context's request is
// for.
type expectedSize struct{}

// checkBlobPage makes the error about a page that is served in place of a blob
// say so. The blob may be a page itself; one of another size is not the blob.
func checkBlobPage(req *http.Request, resp *http.Response) {
	size, ok := req.Context().Value(expectedSize{}).(int64)
	t := MediaType(resp.Header.Get("Content-Type"))
	if ok && IsPage(t) && resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Encoding") == "" {
		resp.Body = &pageBody{resp.Body, size, &AnswerError{Host: req.URL.Host, Of: requestedRepository(req), MediaType: t, Blob: true}}
	}
}

// pageBody is the body of a page. Its end is an error unless it has the
// expected size.
type pageBody struct {
	io.ReadCloser
	left  int64
	other *AnswerError
}

// Read implements [io.Reader].
func (b *pageBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 || b.left > 0 && err == io.EOF {
		return 0, b.other
	}
	return n, err
}

// IsForeignPage reports whether an answer is an HTML page, such as a login page,
// and nothing shows that the page is the blob. A client would notice only when it
// has all of it, and would not try another host then.
func IsForeignPage(resp *http.Response, d digest.Digest, size int64) bool {
	return IsPage(MediaType(resp.Header.Get("Content-Type"))) && resp.StatusCode == http.StatusOK &&
		resp.Header.Get("Docker-Content-Digest") != d.String() && (size == 0 || resp.ContentLength != size)
}
