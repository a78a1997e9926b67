package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kubeletSource is a source over one plugin, which is a fake helper.
func kubeletSource(t *testing.T, images string, script helperScript, more string) (source *KubeletProviders, name string) {
	t.Helper()
	name = "docker-credential-" + newHelper(t, script)
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1
providers:
- name: %s
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: [%s]
  defaultCacheDuration: 1h
  args: [get]
%s`, name, images, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return NewKubeletProviders(KubeletOptions{Config: config, Dir: helperDir}), name
}

// kubeletAnswer is what a plugin writes, under keys.
func kubeletAnswer(duration string, keys ...string) string {
	var auths []string
	for _, key := range keys {
		auths = append(auths, fmt.Sprintf(`%q:{"username":"of %s","password":%q}`, key, key, secret))
	}
	return fmt.Sprintf(`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry",%s"auth":{%s}}`,
		duration, strings.Join(auths, ","))
}

// A plugin is asked once for a repository, for nothing else, and only where it
// is meant to be; of its keys the most specific counts.
func TestKubeletProvider(t *testing.T) {
	t.Parallel()
	source, name := kubeletSource(t, `"*.cloud.test/org"`, helperScript{Stdout: kubeletAnswer("",
		"*.cloud.test", "reg.cloud.test/org/app", "reg.cloud.test/org/app/webmail", "reg.cloud.test/org/ap")}, "")
	for _, test := range []struct{ repository, user string }{
		{"reg.cloud.test/org/app/web", "of reg.cloud.test/org/app"},
		{"reg.cloud.test/org/app/web", "of reg.cloud.test/org/app"},
		{"reg.cloud.test/org/other", "of *.cloud.test"},
		{"reg.cloud.test/organisation/app", ""},
		{"cloud.test/org/app", ""},
		{"a.b.cloud.test/org/app", ""},
		{"reg.cloud.test:5000/org/app", ""},
	} {
		credential, err := source.Lookup(ctx(), repository(t, test.repository))
		if err != nil || credential.Username != test.user || credential.Anonymous() != (test.user == "") {
			t.Errorf("%s: %v, %v", test.repository, credential, err)
		}
		if test.user != "" && !strings.Contains(credential.Source, "kubelet's credential provider "+name) {
			t.Errorf("source %q", credential.Source)
		}
	}
	var asked []string
	for _, run := range runsOf(t, strings.TrimPrefix(name, "docker-credential-")) {
		asked = append(asked, run[strings.Index(run, `"image":`):strings.Index(run, `,"kind"`)])
	}
	if got := strings.Join(asked, " "); got != `"image":"reg.cloud.test/org/app/web" "image":"reg.cloud.test/org/other"` {
		t.Errorf("asked for %s", got)
	}
}

// Keys may be spelled as in Docker's configuration, and a key without * is
// before one with it.
func TestKubeletProviderKeys(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ image, repository, user string }{
		{"reg.cloud.test", "reg.cloud.test/a", "of https://reg.cloud.test/v2/"},
		{"docker.io", "docker.io/library/a", "of https://index.docker.io/v1/"},
		{"two.cloud.test", "two.cloud.test/a", "of two.cloud.test"},
		{"*.cloud.test", "three.cloud.test/org/a", "of http://*.cloud.test/org"},
		{"*.cloud.test", "three.cloud.test/organisation", "of *.cloud.test"},
	} {
		t.Run(test.repository, func(t *testing.T) {
			source, _ := kubeletSource(t, `"`+test.image+`"`, helperScript{Stdout: kubeletAnswer("", "https://reg.cloud.test/v2/", "https://index.docker.io/v1/",
				"two.cloud.test", "two*.cloud.test", "*.cloud.test", "http://*.cloud.test/org")}, "")
			if credential, err := source.Lookup(ctx(), repository(t, test.repository)); err != nil || credential.Username != test.user {
				t.Errorf("%v, %v", credential, err)
			}
		})
	}
}

// What a plugin says about keeping its answer counts, and a refused credential
// is not kept.
func TestKubeletProviderCache(t *testing.T) {
	t.Parallel()
	for duration, runs := range map[string]int{`"cacheDuration":"0s",`: 2, `"cacheDuration":"10m",`: 1, "": 1} {
		source, name := kubeletSource(t, "reg.test", helperScript{Stdout: kubeletAnswer(duration, "reg.test")}, "")
		var kept Credential
		for range 2 {
			kept = must[Credential](t)(source.Lookup(ctx(), repository(t, "reg.test/a")))
		}
		helper := strings.TrimPrefix(name, "docker-credential-")
		if got := len(runsOf(t, helper)); got != runs {
			t.Errorf("%s: %d runs, want %d", duration, got, runs)
		}
		source.Forget(kept)
		if _, err := source.Lookup(ctx(), repository(t, "reg.test/a")); err != nil || len(runsOf(t, helper)) != runs+1 {
			t.Errorf("%s: forgotten, and %d runs, %v", duration, len(runsOf(t, helper)), err)
		}
		if err := os.Remove(filepath.Join(helperDir, name+".runs")); err != nil {
			t.Fatal(err)
		}
	}
}

// A plugin that fails is an error without what it wrote; one that has nothing
// passes the question on.
func TestKubeletProviderFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		script helperScript
		more   string
		want   string // "" for none
	}{
		{"exit", helperScript{Stdout: secret, Stderr: secret, Exit: 1}, "", "it exited with status 1"},
		{"garbage", helperScript{Stdout: "hello " + secret}, "", "not a CredentialProviderResponse"},
		{"another kind", helperScript{Stdout: `{"kind":"Secret","auth":{}}`}, "", "not a CredentialProviderResponse"},
		{"too much", helperScript{Stdout: strings.Repeat("x", 1000), Repeat: 100}, "", "it wrote more than"},
		{"half", helperScript{Stdout: `{"kind":"CredentialProviderResponse","auth":{"reg.test":{"username":"x"}}}`}, "", "lacks user name or password"},
		{"duration", helperScript{Stdout: kubeletAnswer(`"cacheDuration":"soon",`, "reg.test")}, "", "not a duration"},
		{"token", helperScript{}, "  tokenAttributes: {requireServiceAccount: true}\n", "a service account's token"},
		{"none", helperScript{Stdout: kubeletAnswer("")}, "", ""},
		{"for another", helperScript{Stdout: kubeletAnswer("", "reg.test/ab", "other.test")}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			source, name := kubeletSource(t, "reg.test", test.script, test.more)
			credential, err := source.Lookup(ctx(), repository(t, "reg.test/a"))
			if test.want != "" {
				wantError(t, err, test.want, name, "credential for reg.test/a")
				return
			}
			if err != nil || !credential.Anonymous() {
				t.Errorf("%v, %v", credential, err)
			}
		})
	}
}

func TestKubeletProviderConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for text, want := range map[string]string{
		"kind: Pod": "is not a CredentialProviderConfig",
		"{":         "is not a CredentialProviderConfig",
		"kind: CredentialProviderConfig\nproviders: [{name: ../evil, matchImages: [reg.test]}]":                  "not a plugin's name",
		"kind: CredentialProviderConfig\nproviders: [{name: absent, matchImages: [reg.test]}]":                   "cannot be examined",
		"kind: CredentialProviderConfig\nproviders: [{name: absent, matchImages: ['[', other.test, 'reg.*']}]":   "cannot be examined",
		"kind: CredentialProviderConfig\nproviders: [{name: absent, matchImages: ['[', other.test, 'reg.*.x']}]": "",
	} {
		path := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := NewKubeletProviders(KubeletOptions{Config: path, Dir: dir}).Lookup(ctx(), repository(t, "reg.test/a"))
		if want != "" {
			wantError(t, err, want)
		} else if err != nil {
			t.Error(err)
		}
	}
	_, err := NewKubeletProviders(KubeletOptions{Config: filepath.Join(dir, "none"), Dir: dir}).Lookup(ctx(), repository(t, "reg.test/a"))
	wantError(t, err, "no such file")
}
