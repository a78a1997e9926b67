package node

import (
	"slices"
	"time"

	"github.com/nestedoci/nested/config"
)

// plan is an installation that has not been written. Nothing is written before
// all of it is known.
type plan struct {
	options Options
	does    []string  // for each client
	add     []byte    // to buildkitd's configuration, where options name it
	files   []file    // in the order of writing
	notes   []string  // for the administrator
	until   time.Time // when the first certificate expires
}

// file is a file of an installation.
type file struct {
	path string
	contents
	// edited is the file as it was edited since we wrote it, or nil. The plan
	// keeps the edit, and uninstalling leaves the file alone.
	edited *contents
	// replaced says that our file was replaced by one without our marker, which
	// therefore is the original to restore.
	replaced bool
}

// plan plans an installation with options, with services that run a program.
func (i installed) plan(w checkedOptions, program string, now time.Time) (plan, error) {
	does, err := i.settle(&w.Options)
	if err != nil {
		return plan{}, err
	}
	options, configuration, err := i.configuration(w)
	if err != nil {
		return plan{}, err
	}
	services, err := units(options, program)
	if err != nil {
		return plan{}, err
	}
	p, err := i.planAll(options, configuration, services, now)
	if p.does = does; err == nil && slices.Contains(w.given.For, BuildKit) {
		err = i.addBuildKit(&p)
	}
	return p, err
}

// planRepeat plans the same installation again. The configuration stays, and
// without a program for them so do the units.
func (i installed) planRepeat(program string, now time.Time) (plan, error) {
	options := i.record.Options
	configuration, err := i.sameConfiguration(options)
	if err != nil {
		return plan{}, err
	}
	var services []file
	if program == "" {
		services, err = i.sameUnits()
	} else {
		services, err = units(options, program)
	}
	if err != nil {
		return plan{}, err
	}
	return i.planAll(options, configuration, services, now)
}

// planAll lists the files of an installation in the order of writing: at no
// time does hosts.toml name a file that does not exist or that the gateway does
// not know, and at no time does the gateway use a certificate that the
// hosts.toml in force does not trust.
func (i installed) planAll(options Options, configuration, services []file, now time.Time) (plan, error) {
	sites, err := i.sites(options)
	if err != nil {
		return plan{}, err
	}
	certificates, until, err := i.fittingCertificates(options.Address, now)
	if err != nil {
		return plan{}, err
	}
	host := config.NewGatewayHost(options.Address, certificates.ID())
	hosts, err := i.hostsFiles(sites, host)
	if err != nil {
		return plan{}, err
	}
	mirrors, err := i.planContainers(options)
	if err != nil {
		return plan{}, err
	}
	upstream, notes, err := upstreamFiles(slices.Concat(sites, mirrors.sites), host)
	if err != nil {
		return plan{}, err
	}
	dropIn, err := i.containersFiles(mirrors, options, certificates)
	if err != nil {
		return plan{}, err
	}
	clients, err := i.clientFiles(siteDirs(sites), options.Address, certificates)
	if err != nil {
		return plan{}, err
	}
	known, err := i.knownToEachOther(options, certificates)
	if err != nil {
		return plan{}, err
	}
	files := slices.Concat(configuration, upstream, clients, caFile(certificates), hosts, dropIn, known, services)
	return plan{options: options, files: files, notes: append(notes, mirrors.notes...), until: until}, nil
}

// knownToEachOther are the files of buildkitd and the gateway's certificate.
// buildkitd trusts a new set before the gateway shows it. Where the gateway has
// none yet it comes first: the CAs of a set are kept as long as the gateway's
// is of it, and buildkitd shows whatever an interrupted installation has left.
func (i installed) knownToEachOther(o Options, certificates config.Certificates) ([]file, error) {
	current, err := i.data(gatewayPEM)
	if current == nil {
		return slices.Concat(gatewayFile(certificates), buildKitFiles(o, certificates)), err
	}
	return slices.Concat(buildKitFiles(o, certificates), gatewayFile(certificates)), err
}

func siteDirs(sites []site) []string {
	var dirs []string
	for _, s := range sites {
		dirs = append(dirs, s.dir)
	}
	return dirs
}
