package node

import (
	"context"
	"time"

	"github.com/nestedoci/nested/config"
)

// Result is what an installation came to. What was changed on the disk is in it
// also when there is an error beside it.
type Result struct {
	Changes
	Options Options   // by which it is installed
	Notes   []string  // for whoever installs
	Until   time.Time // when the certificates end
	Program string    // what the services run
	// Systemd says that systemd runs here, and runs the services unless the
	// options leave them out.
	Systemd bool
	// ProgramMissing says that the program has yet to be put into the image.
	ProgramMissing bool
}

// Install installs, or changes what is installed to be as the options say. It
// starts the services where systemd runs. An error about an option is a
// [usage.Error].
func Install(ctx context.Context, root string, o Options) (Result, error) {
	w, err := o.parse()
	if err != nil {
		return Result{}, err
	}
	i, err := open(root, w.ContainerdCerts)
	if err != nil {
		return Result{}, err
	}
	defer i.close()
	if w.ContainerdCerts = appendNew(i.record.Options.ContainerdCerts, w.ContainerdCerts); len(w.ContainerdCerts) == 0 {
		w.ContainerdCerts = Directories{config.ContainerdCerts}
	}
	path, err := program(root, !o.NoSystemd)
	if err != nil {
		return Result{}, err
	}
	p, err := i.plan(w, path, time.Now())
	if err != nil {
		return Result{}, err
	}
	return i.bring(ctx, root, p, path)
}

// Repeat installs what is installed once more, with the options of then: what
// is missing or was written anew is put right, and certificates are renewed when
// less than a third of their life is left. Without an installation it is
// [ErrNotInstalled].
//
// The units are made to run this program, and started. Where they cannot be
// written, as in the service that does this every day, they stay as they are: a
// gateway that runs sees by itself what else has changed.
func Repeat(ctx context.Context, root string) (Result, error) {
	i, err := openInstalled(root)
	if err != nil {
		return Result{}, err
	}
	defer i.close()
	path := ""
	if !i.record.Options.NoSystemd && !i.disk.isReadOnly(UnitDir) {
		if path, err = program(root, true); err != nil {
			return Result{}, err
		}
	}
	p, err := i.planRepeat(path, time.Now())
	if err != nil {
		return Result{}, err
	}
	return i.bring(ctx, root, p, path)
}

// bring makes what is planned so, and starts the services or stops them. Without
// a program for them they are left alone.
func (i installed) bring(ctx context.Context, root string, p plan, program string) (Result, error) {
	result := Result{Options: p.options, Notes: p.notes, Until: p.until, Program: program, Systemd: hasSystemd(root)}
	live := result.Systemd && program != ""
	if live && p.options.NoSystemd && i.hasUnits() {
		if err := stopUnits(ctx); err != nil {
			return Result{}, err
		}
	}
	var err error
	if result.Changes, err = i.apply(p); err != nil {
		return result, err
	}
	if root != "" && program != "" {
		there, errRead := i.disk.read(program)
		result.ProgramMissing = errRead == nil && there == nil
	}
	if live && !p.options.NoSystemd {
		err = startUnits(ctx, result.Paths())
	}
	return result, err
}
