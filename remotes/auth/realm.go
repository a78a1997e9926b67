package auth

import (
	"net/url"

	"github.com/nestedoci/nested/internal/reach"
)

// checkRealm is the policy for token endpoints; see RegistryOptions.Realms. The
// transport checks addresses when it dials, which cannot be judged from the
// URL.
func (r *Registry) checkRealm(realm string) error {
	refuse := func(reason string) error {
		return &RealmError{Registry: r.origin.Host, Realm: realm, Reason: reason}
	}
	u, err := url.Parse(realm)
	switch {
	case err != nil:
		return refuse("not a URL")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return refuse("not an http or https URL")
	case u.User != nil:
		return refuse("it contains a user name")
	case u.Scheme == "http" && !r.plain():
		return refuse("it is not https, while the registry is")
	case dialAddress(u) == r.transport.registry:
		return nil
	case len(r.options.Realms) > 0 && !r.transport.isListed(dialAddress(u)):
		return refuse("it is not one of the realms that the configuration allows")
	}
	if reach.EndsInNumber(reach.Hostname(u)) && reachOfName(reach.Hostname(u)) == reach.Unknown {
		return refuse("its host is a number that is not an IP address")
	}
	if err := r.endpoint.allowHost(u); err != nil {
		return refuse("its address is not public, and the registry is not beside it")
	}
	return nil
}
