// Package layout reads and writes OCI image layouts, and layouts in tar files, for
// bundles.
//
// A [Place] is where one is (place.go). [Create] and [CreateArchive] make a
// [Layout] (layout.go) or an [Archive] (archive.go), which are targets of
// [bundle.Pull]: blobs are gathered until they verify, so that an interrupted pull
// goes on (store.go), small ones in memory (small.go), and nothing is named before
// all is there. [Open] opens one for reading, as a [Source] (source.go) whose
// content is named in any of the ways that tools name it (names.go); archives are
// read where they are (tar.go).
//
// Layouts may be in directories where others can write: dir.go says what that
// must not lead to, and keeps it, with what the system tells about files
// (lock_unix.go). One process at a time writes to a layout.
package layout
