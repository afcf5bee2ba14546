package app_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
)

// TestSchedulesByCommand takes a schedule from a file through its life.
func TestSchedulesByCommand(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + schematest.Database(t)
	run := func(args ...string) result { return execute(t, nil, append(args, url)...) }
	wants := func(r result, code int, texts ...string) { t.Helper(); r.wants(t, code, texts...) }
	file := func(text string) string { t.Helper(); return writeFile(t, "schedules.yaml", text) }
	const nightly = `
- name: nightly-report
  cron: "30 2 * * 1-5"
  time_zone: Europe/Berlin
  missed: once
  type: report:build
  payload: {kind: daily, copies: 2}
  headers: {tenant: acme}
  queue: low
  key: reports
  max_retry: 5
  timeout: 10m
`
	good := file(nightly)
	wants(run("schedules", "list"), 0, "No schedules.")
	wants(run("schedules", "apply", "-f", good), 2, "--yes")
	wants(run("schedules", "list"), 0, "No schedules.")
	wants(run("schedules", "apply", "-f", good, "--yes"), 0, "nightly-report", "added")
	wants(run("schedules", "apply", "-f", good, "--yes"), 0, "unchanged")
	wants(run("schedules", "apply", "-f", file(strings.ReplaceAll(nightly, "once", "all")), "--yes"), 0, "changed")
	wants(run("schedules", "list"), 0, "nightly-report", "active", "Europe/Berlin", "report:build")
	wants(run("schedules", "list", "-o", "json"), 0, "{\n  \"schedules\": [\n", `"name": "nightly-report"`)
	wants(run("schedules", "show", "nightly-report", "-o", "json"), 0, `"missed": "all"`, `"copies": 2`, `"tenant": "acme"`, `"key": "reports"`, `"timeout": "10m0s"`)
	wants(run("schedules", "pause", "nightly-report", "--yes", "--reason", "moves", "--as", "ada"), 0, "paused")
	wants(run("schedules", "show", "nightly-report"), 0, "paused", " for ada: moves")
	wants(run("schedules", "resume", "nightly-report", "--yes"), 0, "resumed")
	wants(run("schedules", "remove", "nightly-report"), 2, "--yes")
	wants(run("schedules", "remove", "nightly-report", "--yes"), 0, "removed")
	wants(run("schedules", "show", "nightly-report"), 1, "no schedule")
	for fault, bad := range map[string]string{
		"crons":                      strings.ReplaceAll(nightly, "cron:", "crons:"),
		"name must have":             strings.ReplaceAll(nightly, "nightly-report", "Nightly Report"),
		"write five fields":          strings.ReplaceAll(nightly, "30 2 * * 1-5", "at night"),
		"no day in the next years":   strings.ReplaceAll(nightly, "30 2 * * 1-5", "0 0 31 2 *"),
		"IANA":                       strings.ReplaceAll(nightly, "Europe/Berlin", "Berlin"),
		"missed must be":             strings.ReplaceAll(nightly, "once", "never"),
		"is there twice":             nightly + nightly,
		"no schedules":               "",
		"could not be delivered":     strings.ReplaceAll(nightly, "queue: low", "queue: ' '"),
		"queue must not be":          strings.ReplaceAll(nightly, "queue: low", "queue: subscription:crm"),
		"max_retry, timeout":         strings.ReplaceAll(nightly, "max_retry: 5", "max_retry: -1"),
		"more than one YAML":         nightly + "---" + nightly,
		"type must be an event type": strings.ReplaceAll(nightly, "report:build", `""`),
	} {
		code := 2
		if fault == "could not be delivered" {
			code = 1
		}
		wants(run("schedules", "apply", "-f", file(bad), "--yes"), code, fault)
	}
}
