package registry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
)

// AnswerError says that a request for content was answered with 200 and with
// what cannot be that: a login page, an error in JSON, nothing. It has no class
// of errdefs: the content may be there, or not.
type AnswerError struct {
	Host      string // who answered
	Of        string // the repository that was asked for, as host/name, where it is known
	MediaType string // as it says
	Blob      bool   // what was asked for is a blob
	List      bool   // … or a list of tags or referrers
	Write     bool   // … or that content be taken
	Is        string // what came, when it is no page
}

func (e *AnswerError) Error() string {
	came, wanted := "200 "+printableType(MediaType(e.MediaType)), "no manifest"
	if e.Is != "" {
		came += " with " + e.Is
	}
	switch {
	case e.Blob:
		wanted = "not the blob"
	case e.List:
		wanted = "no list"
	case e.Write:
		wanted = "not what takes content"
	}
	from := e.Host
	switch {
	case strings.HasPrefix(e.Of, e.Host+"/"):
		from = e.Of
	case e.Of != "":
		from = e.Of + ": " + e.Host
	}
	return fmt.Sprintf("%s: the registry answered %s, which is %s; is there a login page or proxy before it?", from, came, wanted)
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

// whatIs says what is wrong with an answer, unless its media type says it.
func whatIs(mediaType string, data []byte) string {
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

// judge refuses a page where a manifest was asked for with GET, or content sent:
// what verifies content says only that it is another. What a HEAD says is not to be relied
// on, and is for whoever asked to ask again.
func judge(req *http.Request, resp *http.Response) error {
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
	begin, _ := buffered.Peek(1) // whoever reads it sees the error, too
	for n := 2; n <= looked && len(begin) == n-1 && len(bytes.TrimSpace(begin)) == 0; n++ {
		begin, _ = buffered.Peek(n)
	}
	resp.Body = bufferedBody{buffered, resp.Body}
	if isMarkup(begin) || IsPage(t) && !isObject(begin) {
		return retry.Final(&AnswerError{Host: req.URL.Host, Of: askedFor(req), MediaType: t, Is: whatIs(t, begin)})
	}
	return nil
}

func isWrite(method string) bool {
	return method == http.MethodPut || method == http.MethodPost || method == http.MethodPatch || method == http.MethodDelete
}

// bufferedBody is a body of which the beginning was looked at.
type bufferedBody struct {
	io.Reader
	io.Closer
}

// wantedSize is the key of the size of the blob that a context's request is for.
type wantedSize struct{}

// judgeBlob lets a page that is served for a blob be called one. That may be a
// page itself; one of another size is not it.
func judgeBlob(req *http.Request, resp *http.Response) {
	size, ok := req.Context().Value(wantedSize{}).(int64)
	t := MediaType(resp.Header.Get("Content-Type"))
	if ok && IsPage(t) && resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Encoding") == "" {
		resp.Body = &pageBody{resp.Body, size, &AnswerError{Host: req.URL.Host, Of: askedFor(req), MediaType: t, Blob: true}}
	}
}

// pageBody is the body of a page, whose end is an error unless it has a size.
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
