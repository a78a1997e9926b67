// Package prune deletes the old releases of a repository: nested indexes with
// the members that nothing names any more.
//
// Read the files in this order:
//
//   - prune.go: [New] reads a repository and makes a [Plan]: which releases are
//     kept, and what is deleted with the others, in this order;
//   - order.go with version.go: which release is newer;
//   - reading.go: what a tag names, as a graph of contents;
//   - tags.go: which tags are releases, and which protect members;
//   - settle.go: what goes, and what is kept;
//   - delete.go: [Plan.Delete] does what the plan says;
//   - replaced.go: [CleanUp] deletes what an index leaves behind that was edited
//     or replaced;
//   - unprotect.go: [Unprotect] deletes the tags that protect the members of one
//     index, and nothing else.
//
// A content goes only when no tag that stays names it, in its own repository or
// in one between that and the parent: directly, through indexes, or as the
// subject of something that stays. What could not be read ends the work before
// anything is deleted.
package prune
