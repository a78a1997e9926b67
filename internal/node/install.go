package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nestedoci/nested/config"
)

// Result is the result of an installation. Changes of the disk are in it even
// when there is an error.
type Result struct {
	Changes
	// Does says what is done for each client, and why others are left out.
	Does []string
	// BuildKit is the text that an administrator has to add to [BuildKitConfig].
	// It is empty where the options do not name BuildKit, and where the file is
	// complete.
	BuildKit []byte
	Repeated bool      // the earlier installation, as it was
	Options  Options   // of the installation
	Notes    []string  // for the administrator
	Until    time.Time // when the first certificate expires
	Program  string    // what the services run
	// Systemd says that systemd runs here, and so runs the services unless the
	// options exclude them.
	Systemd bool
	// Started says that the services were started with what was installed.
	Started bool
	// ProgramMissing says that the program still has to be put into the image.
	ProgramMissing bool
}

// next are the steps that only the administrator can take, each in a line.
func (r Result) next(root string) []string {
	if r.Repeated {
		return nil
	}
	var all []string
	started := strings.Join(startedUnits(r.Options), " ")
	switch {
	case r.Options.NoSystemd:
		all = append(all, fmt.Sprintf("next: run %s gateway --config %s as a service, and %[1]s install every day", r.Program, config.Path))
	case root != "":
		if r.ProgramMissing {
			all = append(all, "next: install nestctl there as "+r.Program)
		}
		all = append(all, "next: systemctl --root="+root+" enable "+started)
	case !r.Systemd:
		all = append(all, "systemd, which starts the gateway, does not run here; without systemd use --no-systemd",
			"next: systemctl daemon-reload && systemctl enable --now "+started)
	}
	if certs := r.Options.ContainerdCerts; len(certs) > 0 {
		all = append(all, "next: containerd's config_path must be "+strings.Join(certs, " or ")+" alone; nestctl doctor checks the installation")
	}
	if len(r.Options.HostsDirs()) > 0 {
		all = append(all, "hosts.toml is read at each pull; nothing need be restarted")
	}
	if slices.Contains(r.Options.For, Containers) {
		all = append(all, "podman, buildah and skopeo read registries.conf at each pull; CRI-O does on: systemctl reload crio")
	}
	return all
}

// Install installs, or changes the installation to match the options. Without
// options it is [Repeat], where there is an installation. It starts the services
// where systemd runs. An error about an option is a [usage.Error].
func Install(ctx context.Context, root string, o Options) (Result, error) {
	return install(ctx, root, o, false)
}

// DryRun is Install that changes nothing: the changes are those that it would
// make.
func DryRun(ctx context.Context, root string, o Options) (Result, error) {
	return install(ctx, root, o, true)
}

func install(ctx context.Context, root string, o Options, dry bool) (Result, error) {
	if o.IsZero() {
		if done, err := repeat(ctx, root, dry); !errors.Is(err, ErrNotInstalled) {
			return done, err
		}
	}
	w, err := o.parse()
	if err != nil {
		return Result{}, err
	}
	i, err := open(root, w.ContainerdCerts)
	if err != nil {
		return Result{}, err
	}
	defer i.close()
	i.disk.dry = dry
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

// Repeat repeats the installation with its recorded options: missing and
// replaced files are restored, and certificates are renewed when less than a
// third of their lifetime is left. Without an installation the error is
// [ErrNotInstalled].
//
// The units are changed to run this program, and started. Where they cannot be
// written, as in the service that does this every day, they stay as they are: a
// running gateway notices other changes by itself.
func Repeat(ctx context.Context, root string) (Result, error) { return repeat(ctx, root, false) }

func repeat(ctx context.Context, root string, dry bool) (Result, error) {
	i, err := openInstalled(root)
	if err != nil {
		return Result{}, err
	}
	defer i.close()
	i.disk.dry = dry
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
	done, err := i.bring(ctx, root, p, path)
	done.Repeated = true
	return done, err
}

// bring applies a plan, and starts or stops the services. Without a program for
// them they are left alone.
func (i installed) bring(ctx context.Context, root string, p plan, program string) (Result, error) {
	result := Result{Does: p.does, BuildKit: p.add, Options: p.options, Notes: p.notes, Until: p.until, Program: program, Systemd: hasSystemd(root)}
	live := result.Systemd && program != "" && !i.disk.dry
	if live && p.options.NoSystemd && i.hasUnits() {
		if err := i.stopUnits(ctx); err != nil {
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
		err = startUnits(ctx, p.options, result.Paths())
		result.Started = err == nil
	}
	return result, err
}
