package integration

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// series are the metrics that there are, with their labels.
type series map[string][]string

var (
	sample    = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{([^}]*)\})? `)
	labelName = regexp.MustCompile(`([a-z_]+)="`)
)

// observedSeries is what a gateway shows after a pull.
func observedSeries(t *testing.T) series {
	t.Helper()
	daemon := startContainerd(t)
	a := publish(t, newApp(t))
	g := startGateway(t, a, "node")
	g.stop(t)
	observed := freeAddress(t)
	writeFile(t, g.config, readText(t, g.config)+fmt.Sprintf("metrics_address = %q\n", observed))
	g.boot(t)
	daemon.pullHosts(t, transfer, g.certsD, a.ref)
	status, text, err := getOver(t, &http.Transport{DisableKeepAlives: true}, "http://"+observed+"/metrics")
	must(t, err)
	if status != http.StatusOK {
		t.Fatalf("/metrics: status %d", status)
	}
	all := series{"up": nil} // Prometheus' own
	for _, line := range sample.FindAllStringSubmatch(text, -1) {
		all[line[1]] = nil
		for _, label := range labelName.FindAllStringSubmatch(line[2], -1) {
			all[line[1]] = append(all[line[1]], label[1])
		}
	}
	return all
}

// check parses an expression and looks whether the metrics that it names exist, with the labels that it asks for; job and
// instance are given by Prometheus.
func (s series) check(t *testing.T, where, text string) (named []string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		named = append(named, selector.Name)
		labels, known := s[selector.Name]
		if !known {
			t.Errorf("%s: no metric %s", where, selector.Name)
		}
		for _, m := range selector.LabelMatchers {
			if !slices.Contains(append([]string{"__name__", "job", "instance"}, labels...), m.Name) {
				t.Errorf("%s: %s has no label %s", where, selector.Name, m.Name)
			}
		}
		return nil
	})
	return named
}

// TestMonitoring: Prometheus takes the rules, and every expression of rules and dashboard is about metrics that a gateway
// shows; the dashboard leaves none of them out.
func TestMonitoring(t *testing.T) {
	all := observedSeries(t)
	const file = "../deploy/monitoring/rules.yaml"
	groups, errs := rulefmt.ParseFile(file, false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if errs != nil {
		t.Fatal(errs)
	}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			all.check(t, rule.Record+rule.Alert, rule.Expr)
			if rule.Record != "" {
				all[rule.Record] = nil
			} else if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" {
				t.Errorf("%s: summary, description or severity is missing", rule.Alert)
			}
		}
	}

	text, err := os.ReadFile("../deploy/monitoring/dashboard.json")
	must(t, err)
	var dashboard struct {
		UID, Title string
		Panels     []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
			GridPos struct{ H, W, X, Y int }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	must(t, json.Unmarshal(text, &dashboard))
	if dashboard.UID == "" || dashboard.Title == "" || len(dashboard.Panels) == 0 {
		t.Errorf("the dashboard lacks its name or panels: %+v", dashboard)
	}
	ids, shown := map[int]bool{}, map[string]bool{}
	for _, panel := range dashboard.Panels {
		if p := panel.GridPos; ids[panel.ID] || panel.Title == "" || len(panel.Targets) == 0 || p.X+p.W > 24 || p.W*p.H == 0 {
			t.Errorf("panel %+v", panel)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			for _, name := range all.check(t, panel.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")) {
				shown[name] = true
			}
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "nested_") && !shown[name] {
			t.Errorf("%s is on no panel", name)
		}
	}
	for _, variable := range dashboard.Templating.List {
		if query, ok := variable.Query.(map[string]any); ok {
			inner, _, _ := strings.Cut(strings.TrimPrefix(fmt.Sprint(query["query"]), "label_values("), ", ")
			all.check(t, "variable "+variable.Name, inner)
		}
	}
}
