package nested_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"net/http"
	"runtime"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

const bombSize = 256 << 20

// gzipped compresses a text.
func gzipped(text []byte) []byte {
	var out bytes.Buffer
	w := clienttest.Must(gzip.NewWriterLevel(&out, gzip.BestCompression))
	clienttest.Must(w.Write(text))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// gzipBomb are zeros: of one text packed once, as often as it takes (RFC 1952, 2.2).
func gzipBomb() []byte {
	zeros := make([]byte, 1<<20)
	return bytes.Repeat(gzipped(zeros), bombSize/len(zeros))
}

// zstdBomb are zeros: a frame (RFC 8878) whose blocks say "this byte, so many times".
func zstdBomb() []byte {
	const block, rle = 128 << 10, 1 << 1
	bomb := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x38} // magic, no content size, a window of 128 KiB
	for left := bombSize; left > 0; left -= block {
		last := 0
		if left <= block {
			last = 1
		}
		header := binary.LittleEndian.AppendUint32(nil, uint32(block<<3|rle|last))
		bomb = append(append(bomb, header[:3]...), 0)
	}
	return bomb
}

// TestContentEncoding: a body that unpacks to more than was described is read to its size and one byte more, whatever it is
// packed with and however often, and nothing of it is stored.
func TestContentEncoding(t *testing.T) {
	for _, test := range []struct {
		name, encoding string
		body           []byte
		want           string
	}{
		{"gzip", "gzip", gzipBomb(), "past expected size"},
		{"zstd", "zstd", zstdBomb(), "past expected size"},
		{"gzip in gzip", "gzip, gzip", gzipped(gzipBomb()), "past expected size"},
		{"zstd in gzip", "zstd, gzip", gzipped(zstdBomb()), "past expected size"},
		{"unknown", "unknown", []byte("x"), "unsupported Content-Encoding"},
	} {
		for _, kind := range []registrytest.Kind{registrytest.KindManifest, registrytest.KindBlob} {
			t.Run(test.name+" "+string(kind), func(t *testing.T) {
				s, root, layer, _ := layered(t)
				s.registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
					q := registrytest.Describe(req)
					if q.Kind != kind || q.Repository == parent || q.Authorization == "" {
						return false
					}
					w.Header().Set("Content-Encoding", test.encoding)
					_, _ = w.Write(test.body)
					return true
				})
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := s.pull(root)
				runtime.ReadMemStats(&after)
				clienttest.WantError(t, err, test.want, "/web@")
				if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
					t.Errorf("%d MiB were allocated", n>>20)
				}
				if clienttest.Stored(s.store, layer) {
					t.Error("the layer is stored")
				}
				for _, i := range clienttest.Must(s.store.ListStatuses(context.Background())) {
					if i.Offset > layer.Size+1 {
						t.Errorf("%d bytes of %s are on disk", i.Offset, i.Ref)
					}
				}
			})
		}
	}
}
