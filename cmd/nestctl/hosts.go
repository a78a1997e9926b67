package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/registry"
)

// open opens a bundle with the credentials of the user's Docker stores.
func (s *settings) open(ctx context.Context, store content.Provider, metrics *registry.Metrics, ref lock.Ref) (_ *bundle.Bundle, err error) {
	dir, remove, err := s.hostsAround(ref.Repository().Host())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return ref.Open(ctx, s.resolver(dir, store, metrics))
}

// around returns a client for a repository's registry that bypasses the
// gateway. closeAll releases it.
func (s *settings) around(repository auth.Repository, metrics *registry.Metrics) (registries *registry.Client, closeAll func() error, err error) {
	dir, remove, err := s.hostsAround(repository.Host())
	if err != nil {
		return nil, nil, err
	}
	registries = s.registries(dir, metrics)
	return registries, func() error { registries.CloseIdleConnections(); return remove() }, nil
}

// aroundEach is around for several registries, each asked for once.
func (s *settings) aroundEach(metrics *registry.Metrics) (from func(auth.Repository) (*registry.Client, error), closeAll func() error) {
	clients, ends := map[string]*registry.Client{}, []func() error{}
	from = func(r auth.Repository) (*registry.Client, error) {
		client, ok := clients[r.Host()]
		if ok {
			return client, nil
		}
		client, end, err := s.around(r, metrics)
		if err == nil {
			clients[r.Host()], ends = client, append(ends, end)
		}
		return client, err
	}
	return from, func() (err error) {
		for _, end := range ends {
			err = errors.Join(err, end())
		}
		return err
	}
}

// hostsAround returns a directory with a registry's hosts.toml files without
// the gateway: nestctl must not depend on a gateway that may be the problem.
func (s *settings) hostsAround(registry string) (dir string, remove func() error, err error) {
	if dir, remove, err = config.HostsWithoutGateway(s.hostsDir, registry); err != nil {
		err = fmt.Errorf("--hosts-dir: %w", err)
	}
	return dir, remove, err
}
