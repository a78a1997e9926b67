package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// behind are the registries behind the names, each once.
func (s Serve) behind() []string {
	var all []string
	for _, front := range s.Registries {
		if _, registry, ok := cutFront(front); ok && !slices.Contains(all, registry) {
			all = append(all, registry)
		}
	}
	return all
}

// proxies are the ranges of addresses.
func (s Serve) proxies() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range s.Proxies {
		if prefix, err := parsePrefix(text); err == nil {
			all = append(all, prefix)
		}
	}
	return all
}

// CheckServed reports what is wrong with the files that a front reads again
// when they change: the certificate, seal keys and hosts.toml files. The error
// has all of it.
func (c *Config) CheckServed() error {
	s := c.Serve
	all := checkServed(s.Certificate)
	for _, path := range s.SealKeys {
		_, err := ReadSealKey(path)
		all = errors.Join(all, err)
	}
	if s.HostsDir != "" {
		for _, registry := range s.behind() {
			all = errors.Join(all, CheckHosts("", s.HostsDir, registry))
		}
	}
	return all
}

// checkServed refuses a certificate that cannot be used, or that others may
// replace.
func checkServed(certificate string) error {
	err := CheckFile(certificate)
	if err != nil {
		return err
	}
	if _, err = tls.LoadX509KeyPair(certificate, certificate); err != nil {
		return &Error{Problems: []Problem{{File: certificate, Wrong: "cannot be used: " + err.Error(), Fix: certificateFix}}}
	}
	return nil
}

const certificateFix = "name a PEM file with the certificate and its key"

// CheckServedNames reports the names for which clients will refuse the front's
// certificate, and a certificate that they will refuse for its time.
func (c *Config) CheckServedNames(now time.Time) error {
	pair, err := tls.LoadX509KeyPair(c.Serve.Certificate, c.Serve.Certificate)
	if err != nil {
		return err
	}
	var all error
	switch {
	case now.After(pair.Leaf.NotAfter):
		all = errors.New("it has expired on " + pair.Leaf.NotAfter.Format(time.DateOnly))
	case now.Before(pair.Leaf.NotBefore):
		all = errors.New("it begins on " + pair.Leaf.NotBefore.Format(time.DateOnly))
	}
	for _, front := range c.Serve.Registries {
		name, _, _ := cutFront(front)
		host, _, err := net.SplitHostPort(name)
		if err != nil {
			host = name
		}
		if pair.Leaf.VerifyHostname(host) != nil {
			all = errors.Join(all, fmt.Errorf("it is not for %s", name))
		}
	}
	return all
}
