package plugin

import (
	"time"
)

// Settings is the section of containerd's configuration.
type Settings struct {
	DockerConfig []string `toml:"docker_config"`
}

func Default() Settings { return Settings{} }

func (s *Settings) check() error { return nil }

const callbackTimeout = 30 * time.Second
