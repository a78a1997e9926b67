package integration

import "testing"

// door is a way by which a bundle comes into containerd.
type door struct {
	*containerd
	t       *testing.T
	inside  bool // containerd has the plugin in it, and stock ctr pulls; otherwise nestctl pulls
	nestctl nestctl
}

// throughDoors runs a test for each door that makes records of members.
func throughDoors(t *testing.T, test func(t *testing.T, d *door)) {
	t.Helper()
	for name, inside := range map[string]bool{"nestctl": false, "plugin": true} {
		t.Run(name, func(t *testing.T) { test(t, &door{t: t, inside: inside}) })
	}
}

// publish pushes a bundle, and starts containerd with the credentials for it.
func (d *door) publish(bundle node) *app {
	d.t.Helper()
	a := publish(d.t, bundle)
	if d.inside {
		d.containerd = startInside(d.t, a.logins)
	} else {
		d.containerd = startContainerd(d.t)
		d.nestctl = newNestctl(d.t, dockerConfig(d.t, a.logins, nil))
	}
	return a
}

// pullNested pulls a reference.
func (d *door) pullNested(ref string) {
	d.t.Helper()
	if d.inside {
		d.ctr(d.t, "image", "pull", "--plain-http", ref)
	} else {
		d.nestctl.run(d.t, d.pull(ref)...)
	}
}
