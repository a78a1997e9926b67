package intercept

import (
	"io"
	"net/http"
	"strconv"
	"testing"
)

// BenchmarkBlob gets a blob of 64 MiB over loopback, directly and through the proxy, and a small answer likewise.
func BenchmarkBlob(b *testing.B) {
	for size, name := range map[int64]string{64 << 20: "64MiB", 1 << 10: "1KiB"} {
		s := newScene(b)
		s.tls(s.ca, "registry.test:443", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			_, _ = io.CopyN(w, zeros{}, size)
		})
		o, _ := s.options("registry.test")
		o.Asked = nil
		p, err := start(o)
		noError(b, err)
		defer p.close()
		for way, c := range map[string]*http.Client{"direct": {Transport: o.Transport}, "through": p.client(b)} {
			b.Run(name+"/"+way, func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					answer, err := c.Get("https://registry.test/")
					noError(b, err)
					_, _ = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
				}
			})
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
