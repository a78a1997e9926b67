package pin

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/usage"
)

// Formats are those of [List].
func Formats() []string { return []string{"ref", "json", "env", "kustomize"} }

// listed is a member in JSON.
type listed struct {
	Namespace  string        `json:"namespace"`
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	Ref        string        `json:"ref"`
}

// List writes the references of members for other tools: "ref", a line for
// each; "json", a list of objects; "env", assignments for a shell; or
// "kustomize", the images of a kustomization. Errors: two members that would
// have the same name in a format, and those of out.
func List(out io.Writer, format string, members []Member) error {
	if format == "json" {
		all := make([]listed, len(members))
		for i, m := range members {
			all[i] = listed{m.Namespace, m.Repository.String(), m.Digest, m.Ref()}
		}
		return sanitize.WriteJSON(out, all)
	}
	var b strings.Builder
	if format == "kustomize" {
		b.WriteString("images:\n")
	}
	named := map[string]string{}
	for _, m := range members {
		name, line := m.entry(format)
		if other, ok := named[name]; ok && name != "" {
			return &usage.Avoidable{Err: fmt.Errorf("%s and %s would both be %s", other, m.Ref(), name), By: ByFormat}
		}
		named[name] = m.Ref()
		b.WriteString(line)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// entry is the member's text in a list. name, where the format has one, must be
// unique in the list.
func (m Member) entry(format string) (name, text string) {
	switch format {
	case "env":
		name = variable(m.Namespace)
		return name, name + "=" + m.Ref() + "\n"
	case "kustomize":
		name = m.Target.String()
		text = "- name: " + name + "\n"
		if m.Repository != m.Target {
			text += "  newName: " + m.Repository.String() + "\n"
		}
		return name, text + "  digest: " + m.Digest.String() + "\n"
	}
	return "", m.Ref() + "\n"
}

var notInVariables = regexp.MustCompile(`[^A-Z0-9]+`)

// variable is a namespace as the name of an environment variable.
func variable(namespace string) string {
	if namespace == "" {
		return "IMAGE"
	}
	name := notInVariables.ReplaceAllString(strings.ToUpper(namespace), "_")
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name + "_IMAGE"
}
