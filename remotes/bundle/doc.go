// Package bundle does with bundles what programs want: a bundle is a root, mostly a
// nested index, with the members that it names in child repositories
// (docs/spec.md).
//
// [Open] resolves a reference to a [Bundle] (bundle.go). [Bundle.Walk] leads from the
// root to everything that a [Selection] selects, each content once (walk.go):
// [Options] say how far, a [Visitor] what is done (options.go), and [Walked] is what
// was found, a graph of [Node] (walked.go, node.go).
//
// On the walk stand [Pull], into a [Target] such as a layout (pull.go, fetch.go; see
// the package layout below this one), and [Copy] and [Plan], to another registry
// (copy.go): every node goes to the repository of its child namespace before those
// that point to it (mover.go, moveblob.go), content only to readers who could have it
// before (owner.go), an index as it is, in a carrier (publish.go) or flat
// (flatten.go). Both tell a [Progress] how far they are. [NewIndex] and [EditIndex]
// make indexes and publish them (edit.go, member.go, indexdocument.go); [Unprotect]
// gives up the tags that kept the members of one (unprotect.go). What registries
// refuse is told with what to do (refusal.go).
//
// Errors are those of package nested, with classes of errdefs. One that another
// choice would have avoided says so (avoidable.go).
package bundle
