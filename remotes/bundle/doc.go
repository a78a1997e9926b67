// Package bundle is what programs do with bundles. A bundle is a root, mostly a
// nested index, with the members that it names in child repositories
// (docs/spec.md).
//
// Read the files in this order:
//
//   - bundle.go: [Open] resolves a reference to a [Bundle];
//   - walk.go: [Bundle.Walk] goes from the root to everything that a
//     [Selection] selects (selection.go), and visits each content once.
//     [Options] say how far, a [Visitor] says what is done (options.go), and
//     [Walked] is what was found, a graph of [Node] (walked.go, node.go);
//   - pull.go with fetch.go and names.go: [Pull] brings a bundle into a
//     [Target], such as a layout of package layout;
//   - rest.go: what a source leaves out (package delta) is found at the
//     destination first;
//   - copy.go: [Copy] brings it to another registry, as [Plan] says (plan.go). Every node goes
//     to the repository of its child namespace before the nodes that point to
//     it (mover.go, moveblob.go). Content goes only to readers who could read
//     it before (owner.go). An index goes as it is or in a carrier
//     (publish.go), or is flattened (flatten.go); signatures keep their tags
//     (attached.go);
//   - edit.go with member.go and rawindex.go: [NewIndex] and [EditIndex] make
//     indexes and publish them. Members that are elsewhere are copied first
//     (gather.go), to repositories that place.go chooses;
//   - pinned.go: [Bundle.Pinned] lists the references that other tools pull,
//     with where they were copied from (origin.go);
//   - progress.go: the [Progress] of pulls and copies; refusal.go: what a
//     registry's refusal means.
//
// Errors are those of package nested, with classes of errdefs. One that another
// choice would have avoided says so (avoidable.go). Package nested is the rule
// below it; its users are internal/check, internal/pin, internal/ctd and
// cmd/nestctl.
package bundle
