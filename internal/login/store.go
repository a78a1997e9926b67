package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/nestedoci/nested/remotes/auth"
)

// configured is what a configuration file says about where a key's credential is
// kept.
type configured struct {
	helper  helper // "" for the file itself
	server  string // the key's name there
	forHost bool   // the helper is the one of the key's registry
	system  bool   // the helper is the system's, which the file does not name yet
}

// configuredFor reads where the credential of a key is kept: with the helper of the
// key, of its registry, or of all registries; and where it has no credentials and names no helper, with the system's.
func configuredFor(o object, k Key, system string) (c configured, err error) {
	c.server = k.String()
	helpers := map[string]string{}
	if err = o.get("credHelpers", &helpers); err != nil {
		return c, fmt.Errorf("credHelpers does not map registries to names of helpers")
	}
	registry, _ := newKey(k.own.Host(), "") // as valid as the key
	for spelling, name := range helpers {
		switch {
		case k.is(spelling):
			if spelling != hub && k.String() != hub {
				c.server = spelling
			}
			return configured{helper: helper(name), server: c.server}, nil
		case registry.is(spelling):
			c.helper, c.forHost = helper(name), true
		}
	}
	if c.helper == "" {
		var name string
		if err = o.get("credsStore", &name); err != nil {
			return c, fmt.Errorf("credsStore is not the name of a helper")
		}
		c.system = name == "" && system != "" && len(helpers) == 0 && o.find("auths") < 0
		if c.helper = helper(name); c.system {
			c.helper = helper(system)
		}
	}
	return c, nil
}

// Store writes a credential, as docker does: to the helper that the file names for
// the key, its registry, or all, with an entry without a secret in the file, or else
// to the file. It returns where the secret is, and warns when something else comes
// first.
func (k Key) Store(ctx context.Context, c auth.Credential) (where, warning string, err error) {
	path, to, err := k.load()
	if err != nil {
		return "", "", err
	}
	where = path
	if to.helper != "" {
		where = to.helper.String()
		if err = to.helper.store(ctx, to.server, c); err != nil {
			return "", "", err
		}
	}
	if os.Getenv(inline) != "" {
		warning = inline + " is set, and comes first"
	}
	return where, warning, change(path, func(o *object) error { return k.write(o, to, c) })
}

// inline is the variable that comes before all files.
const inline = "DOCKER_AUTH_CONFIG"

// load reads the configuration file.
func (k Key) load() (path string, c configured, err error) {
	if path, err = File(); err != nil {
		return "", c, err
	}
	real, err := target(path)
	if err != nil {
		return "", c, err
	}
	data, _, err := read(real)
	if err != nil {
		return "", c, err
	}
	o, err := parseObject(data)
	if err == nil {
		c, err = configuredFor(o, k, systemStore(path))
	}
	if err != nil {
		return "", c, fmt.Errorf("%s: %w", path, err)
	}
	return path, c, nil
}

// systemStore is the helper that docker uses with its own file when that names none.
func systemStore(path string) string {
	if !slices.Contains(auth.StoresFromEnvironment().PassedOver, path) {
		return ""
	}
	return auth.DefaultStore(runtime.GOOS)
}

// write writes the key's entry.
func (k Key) write(o *object, to configured, c auth.Credential) error {
	entry := map[string]string{}
	switch {
	case to.helper != "":
	case c.IdentityToken != "":
		entry["identitytoken"] = string(c.IdentityToken)
	default:
		entry["auth"] = base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + string(c.Password)))
	}
	if to.forHost && k.path != "" { // or nobody would ask it for this key
		if err := edit(o, "credHelpers", func(inner *object) error { return put(inner, k.String(), string(to.helper)) }); err != nil {
			return err
		}
	}
	if to.system { // as docker does: with an entry in auths the file is no longer one without credentials
		if err := put(o, "credsStore", string(to.helper)); err != nil {
			return err
		}
	}
	return edit(o, "auths", func(inner *object) error {
		inner.remove(func(spelling string) bool { return spelling != k.String() && k.is(spelling) })
		return put(inner, k.String(), entry)
	})
}

// edit changes an object that is a member.
func edit(o *object, key string, change func(*object) error) error {
	inner, err := o.inner(key)
	if err == nil {
		err = change(&inner)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	data, err := inner.MarshalJSON()
	if i := o.find(key); i >= 0 {
		key = (*o)[i].key
	}
	o.set(key, data)
	return err
}

func put(o *object, key string, value any) error {
	data, err := json.Marshal(value)
	o.set(key, data)
	return err
}

// Erase removes the key's credential, in all spellings of the key, from the file and
// from its helper. It reports whether there was one, and warns when another credential
// still counts for the key: of a less specific key, of another file, or of the
// environment.
func (k Key) Erase(ctx context.Context) (had bool, warning string, err error) {
	path, from, err := k.load()
	if err != nil {
		return false, "", err
	}
	if from.helper != "" {
		if had, err = from.helper.erase(ctx, from.server); err != nil {
			return false, "", err
		}
	}
	err = change(path, func(o *object) error {
		removed, failed := k.unwrite(o)
		had = had || removed
		return failed
	})
	if err != nil {
		return had, "", err
	}
	other, err := auth.NewStores(auth.StoresFromEnvironment()).Lookup(ctx, k.own)
	if err == nil && !other.Anonymous() {
		warning = "another credential still applies: " + other.Source
	}
	return had, warning, err
}

// unwrite takes out what write has written.
func (k Key) unwrite(o *object) (had bool, err error) {
	if o.find("auths") >= 0 {
		err = edit(o, "auths", func(inner *object) error {
			had = inner.remove(k.is)
			return nil
		})
	}
	var helpers map[string]string
	if err != nil || k.path == "" || o.get("credHelpers", &helpers) != nil || helpers[k.String()] == "" || helpers[k.String()] != helpers[k.own.Host()] {
		return had, err
	}
	return had, edit(o, "credHelpers", func(inner *object) error {
		inner.remove(k.is)
		return nil
	})
}
