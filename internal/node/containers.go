package node

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/registriesconf"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/gateway"
)

// containersDropIn is read after all others: letters follow digits, and another
// drop-in with a table for the same prefix replaces the earlier one's.
var containersDropIn = registriesconf.DropIn("zzz-nested.conf")

// containersMarker is the beginning of the drop-in.
const containersMarker = `# The gateway of nested, by "nestctl install"; tables of other files for the same prefixes are taken over.
`

// containersCerts has a directory of certificates for each host.
var containersCerts = filepath.Join(registriesconf.Dir, "certs.d")

// ContainersCertificates are the paths of the certificates for a gateway's
// address. containers/image takes every .crt, and every .cert with the .key of
// its name.
func ContainersCertificates(address string) (ca, certificate, key string) {
	dir := filepath.Join(containersCerts, address)
	return filepath.Join(dir, "ca.crt"), filepath.Join(dir, "client.cert"), filepath.Join(dir, "client.key")
}

// containersPlan is what is planned for these programs.
type containersPlan struct {
	tables registriesconf.Config
	text   []byte // the tables, as a file
	sites  []site // where the gateway goes to in place of them
	notes  []string
}

// planContainers makes the gateway the first mirror of each registry. An
// administrator's mirrors of it come next, for when the gateway does not answer,
// and the gateway asks them.
func (i installed) planContainers(o Options) (p containersPlan, err error) {
	if !slices.Contains(o.For, Containers) {
		return p, nil
	}
	files, err := registriesconf.Read(confDisk{i.disk}, containersDropIn)
	if err != nil {
		return p, err
	}
	theirs := registriesconf.Merge(files)
	for _, registry := range o.Registries {
		if err = i.addContainers(&p, theirs, registry, o.Address); err != nil {
			return p, err
		}
	}
	if p.text, err = p.tables.Render(); err != nil {
		return p, err
	}
	if _, err = registriesconf.Parse(containersDropIn, p.text); err != nil {
		return p, err // tables of different files that cannot be in one
	}
	merged := registriesconf.Merge(registriesconf.With(files, registriesconf.File{Path: containersDropIn, Registries: p.tables}))
	for _, ours := range p.tables {
		if found, _ := merged.Find(ours.Prefix); !slices.Equal(found.Mirrors, ours.Mirrors) {
			return p, fmt.Errorf("%s: [[registry]] %q decides about %s, whatever %s says; rename the file so that it sorts before that one, or name the registry in it", found.File, found.Prefix, ours.Prefix, containersDropIn)
		}
	}
	return p, nil
}

// addContainers plans for one registry.
func (i installed) addContainers(p *containersPlan, theirs registriesconf.Config, registry, address string) error {
	table, err := i.tableOf(theirs, registry, address)
	if err != nil {
		return err
	}
	switch {
	case !IsInPath(registry):
		p.note("%s cannot be in a path, so that pulls from it do not go through the gateway", registry)
		return nil
	case table.Blocked && len(table.Mirrors) == 0:
		p.note("%s is blocked in %s, and stays so", registry, table.File)
		return nil
	}
	for _, other := range theirs.Below(registry) {
		p.note("%s has a table for %s: pulls below that do not go through the gateway", other.File, other.Prefix)
	}
	text, err := i.upstreamText(table, registry)
	if err != nil {
		return err
	}
	p.sites = append(p.sites, site{registry: registry, dir: filepath.Join(registriesconf.Dir, registry), admin: text, adminDir: registriesconf.Dir, source: table.File})
	p.tables = append(p.tables, table.Through(address+"/"+gateway.InPath(registry)))
	return nil
}

func (p *containersPlan) note(format string, args ...any) {
	p.notes = append(p.notes, "podman, buildah, skopeo, CRI-O: "+fmt.Sprintf(format, args...))
}

// IsInPath reports whether clients take a registry as a component of a
// repository's name, whose grammar has no IPv6 addresses and no upper case.
func IsInPath(registry string) bool { return component.MatchString(gateway.InPath(registry)) }

var component = regexp.MustCompile(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$`)

// tableOf is the administrator's table for a registry, without the gateway, or
// what counts without one.
func (i installed) tableOf(theirs registriesconf.Config, registry, address string) (registriesconf.Registry, error) {
	table, found := theirs.Find(registry)
	if !found {
		table = registriesconf.Registry{Prefix: registry, Endpoint: registriesconf.Endpoint{Location: registry}}
	}
	table, err := table.Of(registry)
	if err != nil {
		return table, err
	}
	isGateway := config.GatewayHost{Address: address}.Is
	if isGateway(table.Host()) {
		return table, fmt.Errorf("%s: location of %s is the gateway itself; make it the registry's", table.File, registry)
	}
	table.Mirrors = slices.DeleteFunc(table.Mirrors, func(m registriesconf.Endpoint) bool { return isGateway(m.Host()) })
	return table, nil
}

// containersFiles are the files, in the order of writing. A pull between the
// writing of a certificate and that of its key finds that they do not match, and
// asks the registry itself.
func (i installed) containersFiles(p containersPlan, o Options, certificates config.Certificates) ([]file, error) {
	if !slices.Contains(o.For, Containers) {
		return nil, nil
	}
	ca, certificate, key := ContainersCertificates(o.Address)
	certificateText, keyText := splitPair(certificates.Client)
	all := []file{
		{path: ca, contents: newContents(certificates.CA, 0o644)},
		{path: certificate, contents: newContents(certificateText, 0o644)},
		{path: key, contents: newContents(keyText, 0o600)},
	}
	if o.AllowGroup != "" {
		gid, err := i.groupID(o.AllowGroup)
		if err != nil {
			return nil, err
		}
		all[2].Mode, all[2].GID = 0o640, gid
	}
	dropIn, err := i.dropIn(p)
	return append(all, dropIn), err
}

// groupID is the number of a group of the node.
func (i installed) groupID(group string) (int, error) {
	const path = "/etc/group" // of an image its own; a number names those of other services
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(gid), nil
	}
	c, err := i.disk.read(path)
	if err != nil {
		return 0, err
	}
	if c != nil {
		for line := range strings.Lines(string(c.Data)) {
			fields := strings.Split(strings.TrimSpace(line), ":")
			if len(fields) == 4 && fields[0] == group {
				gid, err := strconv.ParseUint(fields[2], 10, 31)
				return int(gid), err
			}
		}
	}
	return 0, usage.Optionf("allow-group", " %.64q: is not in %s; name a group that is, or its number", group, path)
}

// dropIn is the drop-in. One that has been edited stays as it is.
func (i installed) dropIn(p containersPlan) (file, error) {
	current, err := i.disk.read(containersDropIn)
	if err != nil {
		return file{}, err
	}
	e, ok := i.record.entry(containersDropIn)
	switch {
	case current == nil || ok && e.ours(current):
		return file{path: containersDropIn, contents: newContents(slices.Concat([]byte(containersMarker), p.text), 0o644)}, nil
	case !ok:
		return file{}, fmt.Errorf("%s: is not of this installation; move it away", containersDropIn)
	}
	return file{path: containersDropIn, contents: *current, edited: current}, nil
}

// splitPair splits a certificate and its key, which are one text.
func splitPair(pair []byte) (certificate, key []byte) {
	for {
		var block *pem.Block
		if block, pair = pem.Decode(pair); block == nil {
			return certificate, key
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			key = append(key, pem.EncodeToMemory(block)...)
		} else {
			certificate = append(certificate, pem.EncodeToMemory(block)...)
		}
	}
}

// containersPair is the pair that is installed for a gateway's address; nil when
// there is none.
func (i installed) containersPair(address string) ([]byte, error) {
	_, certificatePath, keyPath := ContainersCertificates(address)
	certificate, err := i.data(certificatePath)
	if err != nil {
		return nil, err
	}
	key, err := i.data(keyPath)
	if err != nil || certificate == nil || key == nil {
		return nil, err
	}
	return bytes.Join([][]byte{certificate, key}, nil), nil
}

// writesContainers reports whether an installation for these programs can have
// written a file.
func writesContainers(path string) bool {
	dir := filepath.Dir(path)
	ca, certificate, key := ContainersCertificates(filepath.Base(dir))
	return path == containersDropIn || makesContainers(dir) && (path == ca || path == certificate || path == key)
}

// makesContainers reports whether a directory is for the certificates of a
// gateway, of whatever address.
func makesContainers(dir string) bool {
	return filepath.Dir(dir) == containersCerts && isRegistry(filepath.Base(dir))
}

// confDisk is a disk with the files of registries.conf.
type confDisk struct{ disk *disk }

// Names implements [registriesconf.Disk].
func (d confDisk) Names(dir string) ([]string, error) {
	there, err := d.disk.isDir(dir)
	if err != nil || !there {
		return nil, err
	}
	return d.disk.list(dir)
}

// Data implements [registriesconf.Disk].
func (d confDisk) Data(path string) ([]byte, error) {
	c, err := d.disk.read(path)
	if err != nil || c == nil {
		return nil, err
	}
	return c.Data, nil
}
