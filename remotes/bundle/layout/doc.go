// Package layout reads and writes OCI image layouts, and layouts in tar files,
// for bundles.
//
// Read the files in this order:
//
//   - place.go: a [Place] names a layout or an archive;
//   - layout.go: [Create] makes a [Layout], and archive.go: [CreateArchive]
//     makes an [Archive]. Both are targets of [bundle.Pull]. Blobs are
//     collected until they verify, so that an interrupted pull resumes
//     (store.go), small ones in memory (small.go). Nothing is named before
//     everything is there;
//   - source.go: [Open] opens one for reading, as a [Source]. Its content can
//     be named in any of the ways in which tools name it (names.go). Archives
//     are read in place (tar.go), pipes first to their end (pipe_linux.go).
//     What tags attach to it, such as signatures, is no image (attached.go);
//   - split.go: [CreateParts] writes an archive in parts, and parts.go reads
//     them: their checksums first, so that nothing is done with a wrong one;
//   - delta.go: a layout may leave out what its readers have, and lists that;
//     earlier.go: [OpenEarlier] says what they have;
//   - dir.go: layouts may be in directories where others can write. It says
//     what others must not achieve, and prevents it, with what the system says
//     about files (lock_unix.go, lock_windows.go). One process at a time writes to a layout.
//
// Package bundle is the next one up.
package layout
