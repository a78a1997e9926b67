package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
)

// ManifestType returns the media type of an answer to a request for a manifest:
// the one it is served with, or else the one in the content, for registries
// that serve everything as octets. Errors are *[AnswerError]: no page, no error
// in JSON and no empty answer is a manifest, whatever its status.
func ManifestType(host, said string, data []byte) (string, error) {
	t := MediaType(said)
	var content struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
	}
	// What does not decode although it is an object, is for whoever reads it to refuse.
	object := isObject(data)
	known := object && (json.Unmarshal(data, &content) != nil ||
		content.SchemaVersion != 0 || content.MediaType != "" || content.Manifests != nil || content.Config != nil || content.Layers != nil)
	switch {
	case oci.IsManifestOrIndex(t) && !object && !isMarkup(data) && len(data) > 0:
		return t, nil // for whoever reads it to refuse
	case !object || !known && !isVendors(t) || !known && oci.IsManifestOrIndex(t):
		return "", &AnswerError{Host: host, MediaType: t, Is: describeBody(t, data)}
	case oci.IsManifestOrIndex(t) || isVendors(t):
		return t, nil
	case oci.IsManifestOrIndex(content.MediaType):
		return content.MediaType, nil
	case content.SchemaVersion == 2 && content.MediaType == "" && content.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	case content.SchemaVersion == 2 && content.MediaType == "" && content.Config != nil:
		return ocispec.MediaTypeImageManifest, nil
	}
	return said, nil
}

// MediaType returns the media type of a Content-Type: without parameters, in
// lower case, whether or not it is well-formed.
func MediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// isGeneric reports whether a media type says nothing about the content
// (docs/spec.md, section 4).
func isGeneric(mediaType string) bool {
	switch mediaType {
	case "", "application/octet-stream", "binary/octet-stream", "application/json", "text/plain":
		return true
	}
	return false
}

// MayBe reports whether content that is served with a Content-Type may have the
// media type in its descriptor: the types are the same, or the served one is
// generic or cannot be read.
func MayBe(contentType, mediaType string) bool {
	served, _, err := mime.ParseMediaType(contentType)
	return err != nil || isGeneric(served) || served == mediaType
}

// IsPage reports whether a media type is that of a web page.
func IsPage(mediaType string) bool {
	mediaType = MediaType(mediaType)
	return mediaType == "text/html" || mediaType == "application/xhtml+xml"
}

// isVendors reports whether a media type was chosen for this content, unlike
// those that servers give to unknown files.
func isVendors(mediaType string) bool { return strings.HasPrefix(mediaType, "application/vnd.") }

func isObject(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && data[0] == '{'
}

// isMarkup reports whether content begins as web pages do.
func isMarkup(data []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(data), []byte("<")) }

// checkType compares a manifest's Content-Type with the expected one. Generic
// types match any.
func checkType(req *http.Request, resp *http.Response) error {
	expected, ok := oci.ExpectedType(req.Context())
	if !ok || resp.StatusCode != http.StatusOK || !isOfManifest(req) {
		return nil
	}
	got := resp.Header.Get("Content-Type")
	if MayBe(got, expected) {
		return nil
	}
	return fmt.Errorf("%s serves it as %s, its descriptor says %s", req.URL.Host, sanitize.Quote(MediaType(got)), sanitize.Quote(expected))
}
