package doctor

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestLocalPullsDocumented: docs/containerd.md has the settings that the doctor
// looks for, with the same advice.
func TestLocalPullsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/containerd.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)\| with this CRI pulls by itself .*?\n\n`).Find(text)
	var got []localPull
	for _, row := range regexp.MustCompile("(?m)^\\| `(.*?)` \\| (.*) \\|$").FindAllSubmatch(table, -1) {
		got = append(got, localPull{setting: string(row[1]), fix: string(row[2])})
	}
	if want := (criImages{}).localPulls(); !slices.Equal(got, want) {
		t.Errorf("docs/containerd.md has\n%+v\nthe doctor\n%+v", got, want)
	}
}

// TestDoctorTakesDirectoryOfDockerConfig: docker_config may name the directory of a
// config.json, there or not.
func TestDoctorTakesDirectoryOfDockerConfig(t *testing.T) {
	const dir = "/etc/docker-of-nested"
	o := installOn("reg.test")
	o.DockerConfig = []string{dir, dockerJSON}
	n := healthy(t, o)
	look := func(want string) {
		t.Helper()
		if got := n.look("reg.test/org/app:v1"); !fits(want, got) {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	look("no problem found\n")
	n.Must(os.Mkdir(n.Path(dir), 0o755))
	look("no problem found\n")
	n.Must(os.WriteFile(n.Path(dir+"/config.json"), []byte("{}"), 0o600))
	look("no problem found\n")
	n.Must(os.Chmod(n.Path(dir+"/config.json"), 0o644))
	look("problem: *" + dir + "/config.json: can be read by its group or others; fix: chmod go-r *\n")
	n.Must(os.Chmod(n.Path(dir), 0o777))
	look("problem: *" + dir + ": can be written by its group or others; fix: chmod go-w *\n")
}
