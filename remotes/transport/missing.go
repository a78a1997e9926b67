package transport

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/answers"
)

// lookups bounds the members that are looked for at a time.
const lookups = 8

// missing returns what the index names and neither its repository nor the
// parent shows. What may not be pulled is not there either: nobody is to learn
// from a push what there is.
func (p *push) missing(ctx context.Context) ([]nested.Place, error) {
	var mu sync.Mutex
	var missing []nested.Place
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, place := range p.found {
		group.Go(func() error {
			lacks, err := p.finder.Lacks(looking, p.q, place)
			if lacks {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, place)
			}
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		missing, err = p.bringOwn(ctx, missing)
	}
	slices.SortFunc(missing, func(a, b nested.Place) int {
		return strings.Compare(a.First().String()+string(a.Descriptor().Digest), b.First().String()+string(b.Descriptor().Digest))
	})
	return missing, err
}

// unknown is the answer to a push of an index whose members are missing.
func unknown(missing []nested.Place) *http.Response {
	type complaint struct {
		Code    string            `json:"code"`
		Message string            `json:"message"`
		Detail  map[string]string `json:"detail"`
	}
	var errs []complaint
	for _, m := range missing {
		d, at := m.Descriptor().Digest.String(), m.First().String()
		errs = append(errs, complaint{"MANIFEST_BLOB_UNKNOWN", "member " + at + "@" + d + " is not there; push it first", map[string]string{"repository": at, "digest": d}})
	}
	data, _ := json.Marshal(map[string]any{"errors": errs}) // strings encode
	return answers.With(http.StatusBadRequest, http.Header{"Content-Type": {"application/json"}}, data)
}
