// Command pack makes what a release has besides programs and packages: the image, and the Helm chart. Both are OCI layouts in
// tar files, which nestctl copy pushes; the chart is also a .tgz for helm. The same input gives the same bytes.
//
// Read on in this order: image.go (the image of each platform), chart.go (the chart), layout.go (OCI layouts), tar.go (tar
// files without anything of the machine in them).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const synopsis = `usage:
  pack image -version V -created SECONDS -revision COMMIT -ca FILE -out FILE PLATFORM=NESTCTL...
  pack chart -version V -created SECONDS -out DIR CHART`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(synopsis)
	}
	var r release
	flags := flag.NewFlagSet("pack", flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "the `version`, such as v0.1.0")
	flags.StringVar(&r.revision, "revision", "", "the `commit` that it is built from")
	flags.Func("created", "the time in all that has one, in `seconds` since 1970, such as the commit's", func(text string) error {
		seconds, err := strconv.ParseInt(text, 10, 64)
		r.created = time.Unix(seconds, 0).UTC()
		return err
	})
	ca := flags.String("ca", "", "a `file` with CAs in PEM")
	out := flags.String("out", "", "the archive to write, or the directory")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if r.version == "" || r.created.IsZero() || *out == "" || flags.NArg() == 0 {
		return errors.New(synopsis)
	}
	switch {
	case args[0] == "image" && *ca != "":
		return packImage(r, *ca, *out, flags.Args())
	case args[0] == "chart" && flags.NArg() == 1:
		return packChart(r, flags.Arg(0), *out)
	}
	return errors.New(synopsis)
}

// release says what is packed.
type release struct {
	version, revision string
	created           time.Time
}

// write replaces a file at once, so that none is there in part. Everybody may read it, whatever the umask is. Its directory is
// made.
func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".part", data, 0o644); err != nil {
		return err
	}
	if err := os.Chmod(path+".part", 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
