package check

import (
	"context"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/bundle"
)

// compare adds how what is checked of a bundle differs from a lock. What cannot
// be read is a finding already, and hides differences. It is an error when ctx
// ends.
func (r *Report) compare(ctx context.Context, o Options, b *bundle.Bundle, root *bundle.Node) error {
	differences, err := o.Lock.Differences(ctx, b, o.Selection)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && r.Complete {
		r.find(root, b.Repository, root.Digest, err, nextStep(err))
	}
	for _, d := range differences {
		message := sanitize.URLs(d.Err.Error() + "; write the lock anew with nestctl resolve --format lock")
		r.Findings = append(r.Findings, Remark{invalid.String(), d.Namespace, "", b.Repository.String(), d.Digest, message})
		if r.worst == nil {
			r.worst = d.Err
		}
	}
	r.Complete = len(r.Findings) == 0
	return nil
}
