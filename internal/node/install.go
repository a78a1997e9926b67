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
	path, err := program(root)
	if err != nil {
		return Result{}, err
	}
	p, err := i.plan(w, path, time.Now())
	if err != nil {
		return Result{}, err
	}
	if root == "" && !o.NoSystemd {
		if err = checkProgram(path); err != nil {
			return Result{}, err
		}
	}
	result := Result{Options: p.options, Notes: p.notes, Until: p.until, Program: path, Systemd: hasSystemd(root)}
	result.Changes, err = i.bring(ctx, p, result.Systemd)
	if root != "" {
		there, errRead := i.disk.read(path)
		result.ProgramMissing = errRead == nil && there == nil
	}
	return result, err
}

// bring makes what is planned so, and starts the services or stops them.
func (i installed) bring(ctx context.Context, p plan, systemd bool) (Changes, error) {
	if systemd && p.options.NoSystemd && i.hasUnits() {
		if err := stopUnits(ctx); err != nil {
			return Changes{}, err
		}
	}
	done, err := i.apply(p)
	if err == nil && systemd && !p.options.NoSystemd {
		err = startUnits(ctx, done.Paths())
	}
	return done, err
}

// Repeat installs what is installed once more, with the options of then: what
// is missing is put back, and certificates that are about to end are renewed. It
// may write units and start them.
func Repeat(ctx context.Context, root string) (Result, error) {
	i, err := openInstalled(root)
	if err != nil {
		return Result{}, err
	}
	defer i.close()
	path, err := program(root)
	if err != nil {
		return Result{}, err
	}
	p, err := i.planRepeat(path, time.Now())
	if err != nil {
		return Result{}, err
	}
	result := Result{Options: p.options, Notes: p.notes, Until: p.until, Program: path, Systemd: hasSystemd(root)}
	result.Changes, err = i.apply(p)
	if changed := result.Paths(); err == nil && result.Systemd && !p.options.NoSystemd && len(changed) > 0 {
		err = startUnits(ctx, changed)
	}
	return result, err
}

// Renew renews certificates that are about to end, and puts the gateway back
// where somebody has written hosts.toml anew, or removed it. It leaves the units
// as they are: the service that does this may not write there. A gateway that
// runs sees by itself what has changed.
func Renew(root string) (Result, error) {
	i, err := openInstalled(root)
	if err != nil {
		return Result{}, err
	}
	defer i.close()
	p, err := i.planRenewal(time.Now())
	if err != nil {
		return Result{}, err
	}
	result := Result{Options: p.options, Notes: p.notes, Until: p.until}
	if p.files != nil {
		result.Changes, err = i.apply(p)
	}
	return result, err
}
