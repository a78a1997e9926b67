package remotes_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is what the tests read of a file of .github/workflows.
type workflow struct {
	Permissions map[string]string
	Env         map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Timeout     int `yaml:"timeout-minutes"`
		Strategy    struct{ Matrix map[string][]string }
		Steps       []struct {
			Uses, Run string
			With      map[string]string
		}
	}
}

func readWorkflows(t *testing.T) map[string]workflow {
	t.Helper()
	all := map[string]workflow{}
	files, err := filepath.Glob("../.github/workflows/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		var w workflow
		if err := yaml.Unmarshal([]byte(readFile(t, file)), &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = w
	}
	return all
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A step's command: make with one target, or what make's targets stand in.
var (
	stepCommand = regexp.MustCompile(`^(sudo --preserve-env=[A-Z,]+ )?(bash \.ci/run|make ([a-z-]+|"\$TARGET")( VERSION="\$VERSION")?)( #.*)?$`)
	makeTargets = regexp.MustCompile(`(?m)^([a-z][a-z -]*):`)
)

// TestWorkflowsOnlyMake: nothing is done on CI that make does not do on any machine, each target is there, and no text of a
// stranger becomes part of a command.
func TestWorkflowsOnlyMake(t *testing.T) {
	var targets []string
	for _, match := range makeTargets.FindAllStringSubmatch(readFile(t, "../Makefile"), -1) {
		targets = append(targets, strings.Fields(match[1])...)
	}
	for name, w := range readWorkflows(t) {
		for job, j := range w.Jobs {
			for _, step := range j.Steps {
				if step.Run == "" {
					continue
				}
				match := stepCommand.FindStringSubmatch(step.Run)
				if match == nil {
					t.Errorf("%s, %s: %q is no target of make", name, job, step.Run)
					continue
				}
				wanted := []string{match[3]}
				if match[3] == `"$TARGET"` {
					wanted = j.Strategy.Matrix["target"]
				}
				for _, target := range wanted {
					if target != "" && !slices.Contains(targets, target) {
						t.Errorf("%s, %s: Makefile has no target %s", name, job, target)
					}
				}
			}
		}
	}
}

var pinned = regexp.MustCompile(`(?m)^\s*(?:- )?uses: ([\w.-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$`)

// TestWorkflowsPinActions: each action is pinned by commit, with its version beside it, and by the same in all workflows.
func TestWorkflowsPinActions(t *testing.T) {
	commits := map[string]string{}
	for name, w := range readWorkflows(t) {
		steps := 0
		for _, j := range w.Jobs {
			for _, step := range j.Steps {
				if step.Uses != "" {
					steps++
				}
			}
		}
		matches := pinned.FindAllStringSubmatch(readFile(t, "../.github/workflows/"+name), -1)
		if len(matches) != steps {
			t.Errorf("%s: of %d actions %d are pinned by commit, with a version", name, steps, len(matches))
		}
		for _, match := range matches {
			pin := match[2] + " " + match[3]
			if other := commits[match[1]]; other != "" && other != pin {
				t.Errorf("%s is pinned by %s and by %s", match[1], pin, other)
			}
			commits[match[1]] = pin
		}
	}
}

// TestWorkflowsMayDoLittle: only the job that publishes may write, a checkout leaves no token behind, and no job goes on for
// hours that nobody meant.
func TestWorkflowsMayDoLittle(t *testing.T) {
	for name, w := range readWorkflows(t) {
		if w.Permissions == nil {
			t.Errorf("%s has whatever permissions the repository gives", name)
		}
		for job, j := range w.Jobs {
			for _, permissions := range []map[string]string{w.Permissions, j.Permissions} {
				for scope, may := range permissions {
					if may != "read" && (name != "release.yml" || job != "publish") {
						t.Errorf("%s, %s: %s: %s", name, job, scope, may)
					}
				}
			}
			if j.Timeout == 0 {
				t.Errorf("%s, %s: no timeout-minutes", name, job)
			}
			for _, step := range j.Steps {
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != "false" {
					t.Errorf("%s, %s: the checkout keeps the token", name, job)
				}
			}
		}
	}
}
