// Command helmcharts renders, lints and pulls charts with Helm's own packages, for the tests. All of helm takes minutes to build,
// most of it for clusters.
//
//	helmcharts [-namespace NAME] [-values FILE]... [-set KEY=VALUE]... [-set-file KEY=FILE]... template CHART
//	helmcharts [...] notes CHART
//	helmcharts [...] lint DIRECTORY
//
// They print what helm template prints, NOTES.txt, and what helm lint finds. CHART is a directory, a .tgz, or
// oci://REFERENCE, which is asked over plain HTTP.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/registry"
	"helm.sh/helm/v3/pkg/strvals"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "helmcharts:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	values := map[string]any{}
	namespace := flag.String("namespace", "default", "of the release")
	flag.Func("values", "`file` of values", func(file string) error {
		more, err := chartutil.ReadValuesFile(file)
		values = chartutil.CoalesceTables(more, values)
		return err
	})
	flag.Func("set", "`key=value`", func(text string) error { return strvals.ParseInto(text, values) })
	flag.Func("set-file", "`key=file`", func(text string) error {
		return strvals.ParseIntoFile(text, values, func(name []rune) (any, error) {
			data, err := os.ReadFile(string(name))
			return string(data), err
		})
	})
	flag.Parse()
	switch flag.Arg(0) {
	case "template", "notes":
		return template(out, flag.Arg(0) == "notes", flag.Arg(1), *namespace, values)
	case "lint":
		return lintChart(out, flag.Arg(1), *namespace, values)
	}
	return errors.New("want template, notes or lint")
}

func template(out io.Writer, notes bool, from, namespace string, values map[string]any) error {
	c, err := load(from)
	if err != nil {
		return err
	}
	release := chartutil.ReleaseOptions{Name: "nested", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, release, nil)
	if err != nil {
		return err
	}
	rendered, err := engine.Render(c, all)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if (path.Base(name) == "NOTES.txt") == notes && !strings.HasPrefix(path.Base(name), "_") {
			fmt.Fprintf(out, "---\n# Source: %s\n%s\n", name, rendered[name])
		}
	}
	return nil
}

// load also refuses a chart of which helm says that it is not valid.
func load(from string) (*chart.Chart, error) {
	ref, remote := strings.CutPrefix(from, "oci://")
	if !remote {
		return loader.Load(from)
	}
	client, err := registry.NewClient(registry.ClientOptPlainHTTP(), registry.ClientOptWriter(io.Discard))
	if err != nil {
		return nil, err
	}
	pulled, err := client.Pull(ref)
	if err != nil {
		return nil, err
	}
	return loader.LoadArchive(bytes.NewReader(pulled.Chart.Data))
}

// lintChart fails when there is an error or a warning.
func lintChart(out io.Writer, dir, namespace string, values map[string]any) error {
	linter := lint.All(dir, values, namespace, true)
	for _, message := range linter.Messages {
		fmt.Fprintln(out, message)
	}
	if linter.HighestSeverity >= support.WarningSev {
		return errors.New("the chart has faults")
	}
	return nil
}
