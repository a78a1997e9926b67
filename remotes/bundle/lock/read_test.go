package lock_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/remotes/bundle/lock"
)

const someDigest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"

const valid = `{
  "version": 1,
  "repository": "registry.example.com/org/app",
  "tag": "v1",
  "root": {
    "digest": "` + someDigest + `",
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "size": 7
  },
  "members": [
    {
      "namespace": "web",
      "digest": "` + someDigest + `",
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "size": 7,
      "platform": "linux/amd64",
      "origins": [
        "docker.io/library/nginx:1.27@` + someDigest + `"
      ]
    }
  ],
  "content": {
    "` + someDigest + `": 7
  }
}
`

func TestLockIsReadAsItIsWritten(t *testing.T) {
	l := clienttest.Must(lock.Parse([]byte(valid)))
	var out bytes.Buffer
	clienttest.NoError(t, l.Write(&out))
	if out.String() != valid {
		t.Errorf("written: %s", out.String())
	}
	if size := l.Content[someDigest]; size != 7 || len(l.Members) != 1 {
		t.Errorf("read: %+v", l)
	}
}

// What people or merges make of a lock is refused, unless it says the same.
func TestLocksAreReadStrictly(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(valid, old) {
			t.Fatalf("%q is not in it", old)
		}
		return strings.Replace(valid, old, new, 1)
	}
	other := strings.Replace(someDigest, "0", "1", 1)
	for text, want := range map[string]string{
		valid:                                   "",
		strings.Join(strings.Fields(valid), ""): "",
		"":                                      "it is empty",
		" \n":                                   "it is empty",
		"null":                                  "version 0: only version 1 is known",
		"<<<<<<< HEAD\n" + valid:                "line 1: a git conflict that has not been resolved",
		edit("  \"tag\"", "=======\r\n  \"tag\""): "line 4: a git conflict",
		strings.ReplaceAll(valid, "\n", "\r\n"):   "",
		"\ufeff" + valid:                          "byte order mark",
		valid[:len(valid)/2]:                      "it ends in the middle",
		valid[:len(valid)-3]:                      "it ends in the middle",
		edit(`"size": 7
  },`, `"size": 7,
  },`): "line 8: a comma before the }",
		edit(`]
    }
  ],`, `]
    },
  ],`): "line 20: a comma before the ]",
		edit(`"tag": "v1",`, `"tag": "v1"`):                                                              "line 5: invalid character",
		edit(`"tag": "v1",`, `"tag": 'v1',`):                                                             "line 4: invalid character",
		valid + valid:                                                                                    "invalid character '{' after top-level value",
		edit(`"version": 1`, `"version": 2, "new": true`):                                                "version 2: only version 1 is known; use a newer version",
		edit(`"version": 1`, `"version": "1"`):                                                           `line 2: "version" is a string, and not a whole number`,
		edit(`"tag": "v1"`, `"tag": "v1", "tag": "v2"`):                                                  `the key "tag" is there twice`,
		edit(`"`+someDigest+`": 7`, `"`+someDigest+`": 7, "`+someDigest+`": 8`):                          "is there twice",
		edit(`"tag": "v1"`, `"Tag": "v1"`):                                                               `unknown key "Tag"`,
		edit(`"tag": "v1"`, `"comment": "v1"`):                                                           `unknown key "comment"`,
		edit(`"tag": "v1"`, `"a:b": "v1"`):                                                               `unknown field "a:b"`,
		edit(`"tag": "v1"`, `"namespace": "v1"`):                                                         `unknown field "namespace"`,
		edit(`"tag": "v1"`, `"tag": "../v1"`):                                                            "not one",
		edit(`"tag": "v1"`, "\"tag\": \"\xff\""):                                                         "not UTF-8",
		edit(`registry.example.com/org/app`, `app`):                                                      "no registry in front of the name",
		edit(`registry.example.com/org/app`, `registry.example.com/org/app@evil.com`):                    "invalid reference format",
		edit(`"namespace": "web"`, `"namespace": "../web"`):                                              "../web",
		edit(`"platform": "linux/amd64"`, `"platform": "Linux/x86_64"`):                                  "its spelling is linux/amd64",
		edit(`docker.io/library/nginx`, `nginx`):                                                         "its full spelling is",
		edit(`"size": 7`, `"size": -7`):                                                                  "size -7: impossible",
		edit(`"size": 7`, `"size": 7.5`):                                                                 `line 8: "root.size" is a number 7.5, and not a whole number`,
		edit(someDigest, "sha256:0123"):                                                                  "root: digest",
		edit(`"`+someDigest+`": 7`, `"`+someDigest+`": -7`):                                              "content: size -7: impossible",
		edit(`"tag": "v1"`, `"platform": "tree"`):                                                        "tree",
		edit(`"tag": "v1"`, `"selected": ["/"]`):                                                         `"/"`,
		edit(`"tag": "v1"`, `"carrier": "x"`):                                                            `digest "x"`,
		edit(`"members": [`, `"members": [{"namespace": "web", "digest": "`+someDigest+`", "size": 1},`): "member web: " + someDigest + " is there twice",
		edit(`"members": [`, `"members": [{"namespace": "web", "digest": "`+other+`", "size": 1},`):      "",
		valid[:strings.Index(valid, `,
  "content"`)] + "}": "members or content: missing",
		valid + strings.Repeat(" ", 32<<20): "more than 32.0 MiB",
	} {
		_, err := lock.Parse([]byte(text))
		if want == "" && err == nil {
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) || !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), "lock: ") {
			t.Errorf("%.300s: %v, want %s", text, err, want)
		}
	}
}

// The string decides, so that a file that somebody left there changes nothing.
func TestLocksAreToldFromReferences(t *testing.T) {
	for s, want := range map[string]string{
		"app.lock":                        "app.lock",
		"dir/app.lock":                    "dir/app.lock",
		"lock.json":                       "lock.json",
		"app.lock.json":                   "app.lock.json",
		"./app":                           "./app",
		"../app:v1":                       "../app:v1",
		"/tmp/app":                        "/tmp/app",
		"lock:app":                        "app",
		"lock:oci/app:v1":                 "oci/app:v1",
		"lock:5000/app":                   "",
		"lock:":                           "",
		"lock":                            "",
		"app":                             "",
		"r.example.com/app.lock:v1":       "",
		"r.example.com/clock.json":        "",
		"r.example.com/app@" + someDigest: "",
	} {
		path, ok := lock.Path(s)
		if ok != (want != "") || ok && path != want {
			t.Errorf("%s: %s, %v", s, path, ok)
		}
	}
}

// What is read can be written, and is read again as the same.
func FuzzLock(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte(`{"version":1,"repository":"r.example.com/a","root":{"digest":"` + someDigest + `"},"selected":["a/b"],"platform":"linux/arm64","members":[],"content":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := lock.Parse(data)
		if err != nil {
			return
		}
		var first, second bytes.Buffer
		clienttest.NoError(t, l.Write(&first))
		again, err := lock.Parse(first.Bytes())
		if err != nil {
			t.Fatalf("%q becomes %q: %v", data, first.Bytes(), err)
		}
		clienttest.NoError(t, again.Write(&second))
		if first.String() != second.String() {
			t.Fatalf("%q becomes %q, and then %q", data, first.Bytes(), second.Bytes())
		}
		if _, err := l.Ref(); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
	})
}
