package main

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/internal/registrytest"
)

func TestMain(m *testing.M) {
	testscript.Main(leaktest.Checked(m), map[string]func(){
		"nestctl":                    main,
		"docker-credential-answers":  answeringHelper,
		"docker-credential-fails":    failingHelper,
		"docker-credential-keeps":    keepingHelper,
		"docker-credential-hangs":    hangingHelper,
		"docker-credential-rambling": ramblingHelper,
	})
}

// TestScripts runs testdata/*.txt, the specification of the command line. In
// a script $REGISTRY is a registry of its own, empty and without users; what
// commands there are beside testscript's is in commands_test.go.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds:                commands,
	})
}

// scene is what a script plays in.
type scene struct {
	registry *registrytest.Registry
	config   dockerConfig
	names    map[digest.Digest]string          // of what was published
	places   map[digest.Digest]map[string]bool // repositories of blobs
	bodies   map[digest.Digest][]byte
	stalled  chan struct{} // gets a value for each request that stalls
	front    *front
}

type sceneKey struct{}

func sceneOf(ts *testscript.TestScript) *scene { return ts.Value(sceneKey{}).(*scene) }

func setup(env *testscript.Env) error {
	s := &scene{
		registry: registrytest.New(registrytest.WithTokenAuth()),
		config:   newDockerConfig(filepath.Join(env.WorkDir, ".docker")),
		names:    map[digest.Digest]string{},
		places:   map[digest.Digest]map[string]bool{},
		bodies:   map[digest.Digest][]byte{},
		stalled:  make(chan struct{}, 100),
	}
	env.Defer(s.registry.Close)
	env.Values[sceneKey{}] = s
	for name, value := range map[string]string{
		"REGISTRY":      s.registry.Host(),
		"DOCKER_CONFIG": filepath.Join(env.WorkDir, ".docker"),
		"HELPER_RUNS":   filepath.Join(env.WorkDir, "helper-runs"),
		"ARCH":          runtime.GOARCH,
		"GORACE":        "atexit_sleep_ms=0", // for -race
	} {
		env.Setenv(name, value)
	}
	return s.config.write()
}
