package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
)

const (
	// maxRefusal bounds what is read of a registry's words about a write, in bytes.
	maxRefusal = 64 << 10
	// maxLocation bounds where an upload goes on, in bytes: sealed it is part of
	// a path, for which the server and most proxies have no more than 32 KiB.
	maxLocation = 16 << 10
)

// answerOf is the answer of a registry to a write as the client gets it: with the
// headers that such answers have, and of what the registry says what the
// distribution spec has, bounded, for terminals to show. Errors: of type
// [registry.StatusError] and [registry.AnswerError] for what is no such answer.
func answerOf(q registry.Request, resp *http.Response) (*http.Response, error) {
	host, status := resp.Request.URL.Host, resp.StatusCode
	header := answers.Kept(resp.Header, answered)
	switch {
	case registry.IsPage(resp.Header.Get("Content-Type")) && status < http.StatusBadRequest:
		return nil, errors.Join(&registry.AnswerError{Host: host, Of: q.Repository.String(), MediaType: registry.MediaType(resp.Header.Get("Content-Type")), Write: true}, resp.Body.Close())
	case status < http.StatusOK, status == http.StatusUnauthorized, status > 599: // which is another host's, or nobody's
		no := registry.StatusErrorOf(resp)
		no.Elsewhere = status == http.StatusUnauthorized
		return nil, errors.Join(no, resp.Body.Close())
	}
	if err := checkLocation(host, header); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	var data []byte
	if status >= http.StatusBadRequest {
		data = words(resp)
		header.Set("Content-Type", "application/json")
	}
	if wait := retry.After(resp); wait > 0 || status == http.StatusTooManyRequests {
		header.Set("Retry-After", strconv.Itoa(int(max(wait, time.Second).Seconds())))
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	answer := answers.With(status, header, data)
	answer.Request = resp.Request
	if status == http.StatusNoContent {
		answer.Header.Del("Content-Length")
	}
	return answer, nil
}

// checkLocation refuses a Location that no client could go on with.
func checkLocation(host string, header http.Header) error {
	location := header.Get("Location")
	if len(location) <= maxLocation {
		return nil
	}
	return fmt.Errorf("registry %s answered with a Location of %d bytes; at most %d can be sealed", host, len(location), maxLocation)
}

// words are a registry's errors in JSON (distribution spec, "Error Codes"). Where
// they have another form, they say who answered what.
func words(resp *http.Response) []byte {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	said := registry.ComplaintsIn(data)
	if err != nil || len(said) == 0 {
		said = []registry.Complaint{{Code: "UNKNOWN", Message: registry.StatusErrorOf(resp).Error()}}
	}
	for i, c := range said {
		said[i] = registry.Complaint{Code: sanitize.Message(c.Code), Message: sanitize.Message(c.Message), Detail: shownIn(c.Detail)}
	}
	data, err = json.Marshal(map[string]any{"errors": said})
	if err != nil {
		return nil // cannot happen: it was JSON
	}
	return data
}

// shownIn is a value of JSON in which all texts are so.
func shownIn(value any) any {
	switch v := value.(type) {
	case string:
		return sanitize.Message(v)
	case []any:
		for i := range v {
			v[i] = shownIn(v[i])
		}
	case map[string]any:
		clean := map[string]any{}
		for name, in := range v {
			clean[sanitize.Message(name)] = shownIn(in)
		}
		return clean
	}
	return value
}

// answered are the headers of a registry's answer to a write that clients get.
var answered = []string{"Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Docker-Upload-Uuid", "Location",
	"Oci-Chunk-Max-Length", "Oci-Chunk-Min-Length", "Oci-Subject", "Oci-Tag", "Range", "Retry-After", "Warning"}
