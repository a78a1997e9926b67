// Package answers makes the answers that registries give.
package answers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// With is an answer whose body is at hand.
func With(status int, header http.Header, data []byte) *http.Response {
	header.Set("Content-Length", strconv.Itoa(len(data)))
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data))}
}

// JSON is an answer with a value.
func JSON(status int, value any) *http.Response {
	data, _ := json.Marshal(value) //nolint:errchkjson // callers have values that encode
	return With(status, http.Header{"Content-Type": {"application/json"}, "Docker-Distribution-Api-Version": {"registry/2.0"}}, data)
}

// Complete gives an answer what those of [http.Transport] have.
func Complete(r *http.Request, resp *http.Response) *http.Response {
	resp.Request = r
	resp.Status = fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.ProtoMajor == 0 {
		resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/1.1", 1, 1
	}
	return resp
}

// Kept are the headers of these names.
func Kept(header http.Header, names []string) http.Header {
	k := http.Header{}
	for _, name := range names {
		if v := header.Values(name); len(v) > 0 {
			k[name] = slices.Clone(v)
		}
	}
	return k
}

// HopByHop are the headers of one connection (RFC 9110, section 7.6.1).
var HopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
