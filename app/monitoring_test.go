package app_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wantCheckedMetrics has promtool look at a real /metrics.
func wantCheckedMetrics(t *testing.T, text string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if said, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(said)) != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, said)
	}
}

// metricName is how our metrics are called, as opposed to databases, roles and cookies.
var metricName = regexp.MustCompile(`outboxd_(build|http|relay|worker)_[a-z_]+[a-z]`)

// wantNamedMetrics fails the test for each metric that documents, alerts or the
// dashboard name and /metrics does not have.
func wantNamedMetrics(t *testing.T, text string) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"../README.md", "../docs/*.md", "../docs/*/*.md", "../docs/*/*/*.md", "../deploy/grafana/*.json", "../deploy/prometheus/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no file like %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	part := regexp.MustCompile(`_(bucket|sum|count)$`)
	reference, err := os.ReadFile("../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	// A metric may be missing while there is no trouble; its row in the table
	// then says so.
	absent := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(outboxd_[a-z_]+)[^\n]*[Aa]bsent").FindAllStringSubmatch(string(reference), -1) {
		absent[row[1]] = true
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		named := metricName.FindAllString(string(content), -1)
		if len(named) == 0 && !strings.HasSuffix(file, ".md") {
			t.Errorf("%s names no metric", file)
		}
		slices.Sort(named)
		for _, name := range slices.Compact(named) {
			whole := part.ReplaceAllString(name, "")
			if !absent[name] && !strings.Contains(text, "# TYPE "+name+" ") && !strings.Contains(text, "# TYPE "+whole+" histogram") {
				t.Errorf("%s speaks of %s, which /metrics does not have", file, name)
			}
		}
	}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), "promtool", args...)
		cmd.Dir = "../deploy/prometheus"
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}

// Each alert has a section in the runbook, and a test that sees it fire.
func TestAlertsHaveSections(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rules, tests := read("../deploy/prometheus/alerts.yaml"), read("../deploy/prometheus/alerts_test.yaml")
	alerts := regexp.MustCompile(`(?m)- alert: (\w+)$`).FindAllStringSubmatch(rules, -1)
	if len(alerts) == 0 {
		t.Error("there are no alerts")
	}
	for _, alert := range alerts {
		name := alert[1]
		link := regexp.MustCompile(`runbook_url: (docs/guides/runbook/[a-z-]+\.md)#`+strings.ToLower(name)+"\n").FindAllStringSubmatch(rules, -1)
		if len(link) != 1 {
			t.Errorf("%s does not lead to its section", name)
			continue
		}
		_, section, found := strings.Cut(read("../"+link[0][1]), "\n## "+name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found || !strings.Contains(section, "**Means.**") || !strings.Contains(section, "**Look.**") || !strings.Contains(section, "**Mend.**") {
			t.Errorf("the runbook does not say what %s means, where to look and how to mend it", name)
		}
		if !regexp.MustCompile(`alertname: ` + name + `\n +exp_alerts: ?[&*\n]`).MatchString(tests) {
			t.Errorf("no test has %s fire", name)
		}
	}
}

func TestDashboardIsOne(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../deploy/grafana/outboxd.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID    string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || dashboard.UID != "outboxd" {
		t.Fatalf("%v, uid %q", err, dashboard.UID)
	}
	seen := map[int]bool{}
	for _, panel := range dashboard.Panels {
		if seen[panel.ID] || panel.Title == "" || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %d, %q, has its number twice, or shows nothing", panel.ID, panel.Title)
		}
		seen[panel.ID] = true
	}
}
