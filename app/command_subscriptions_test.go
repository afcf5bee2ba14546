package app_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
)

// TestSubscriptionsByCommand takes a subscription from a file through its life.
func TestSubscriptionsByCommand(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + schematest.Database(t)
	run := func(args ...string) result { return execute(t, nil, append(args, url)...) }
	wants := func(r result, code int, texts ...string) { t.Helper(); r.wants(t, code, texts...) }
	file := func(text string) string { t.Helper(); return writeFile(t, "subscriptions.yaml", text) }
	const crm = `
- name: crm
  types: ["user:*", "order:paid"]
  headers: {region: eu}
  url: https://crm.example.com/hooks
  secret: [env:CRM_SECRET, env:CRM_OLD_SECRET]
  format: cloudevents
  timeout: 10s
  concurrency: 50
  rate: 200/s
  retry: {attempts: 12, max: 1h}
  ordering: key
`
	good := file(crm)
	wants(run("subscriptions", "list"), 0, "No subscriptions.")
	wants(run("subscriptions", "apply", "-f", good), 2, "--yes")
	wants(run("subscriptions", "list"), 0, "No subscriptions.")
	wants(run("subscriptions", "apply", "-f", good, "--yes"), 0, "crm", "added")
	wants(run("subscriptions", "apply", "-f", good, "--yes"), 0, "unchanged")
	wants(run("subscriptions", "apply", "-f", file(strings.ReplaceAll(crm, "200/s", "30/m")), "--yes"), 0, "changed")
	wants(run("subscriptions", "show", "crm"), 0, "active", "user:* order:paid", "env:CRM_SECRET", "0.5/s", "region: eu", "12 attempts, at most 1 h apart", "10 s")
	wants(run("subscriptions", "pause", "crm", "--yes", "--reason", "moves", "--as", "ada"), 0, "paused")
	wants(run("subscriptions", "show", "crm", "-o", "json"), 0, `"state": "paused"`, `"reason": "moves"`, ` for ada"`)
	const waits = "Subscription crm is paused: the deliveries wait until it is resumed (outboxd subscriptions resume crm)."
	wants(run("subscriptions", "replay", "crm", "--since", "48h"), 0, waits)
	wants(run("subscriptions", "resume", "crm", "--yes"), 0, "resumed")
	if r := run("subscriptions", "replay", "crm", "--since", "48h"); strings.Contains(r.message(), "is paused") {
		t.Errorf("of a subscription that goes on it says %s", r.message())
	}
	wants(run("subscriptions", "remove", "crm", "--yes"), 0, "removed")
	wants(run("subscriptions", "remove", "crm", "--yes"), 1, "no subscription")
	wants(run("subscriptions", "apply", "-f", good, "--yes"), 0, "added")
	wants(run("subscriptions", "apply", "-f", good, "--replay-since", "2026-11-01T00:00Z"), 2, "No event that was emitted since", "matches; nothing to replay.", "--yes")
	wants(run("subscriptions", "apply", "-f", good, "--replay-since", "48h", "--yes"), 0, "unchanged", "0 deliveries made of 0 events that match")
	wants(run("subscriptions", "list", "-o", "json"), 0, "{\n  \"subscriptions\": [\n", `"name": "crm"`)
	wants(run("subscriptions", "apply", "-f", good, "--replay-since", "48h", "--yes", "-o", "json"), 0, "{\n  \"applied\": [\n", `"made": 0`, `"ended_at"`)
	wants(run("subscriptions", "apply", "-f", good, "--replay-since", "soon", "--yes"), 2, "--replay-since", "is not a time")
	wants(run("subscriptions", "replay", "crm", "--yes"), 2, "--since is required")
	wants(run("subscriptions", "replay", "crm", "--since", "48h"), 0, "No event that was emitted since", "matches; nothing to do.")
	wants(run("subscriptions", "replay", "nobody", "--since", "48h", "--yes"), 1, "no subscription")
	wants(run("subscriptions", "replay", "crm", "--since", "48h", "--yes", "--reason", "new"), 0, "No event matches; nothing to do.")
	wants(run("subscriptions", "show", "crm"), 0, "Replay", "ended")
	for fault, bad := range map[string]string{
		"secrets":        strings.ReplaceAll(crm, "secret:", "secrets:"),
		"name":           strings.ReplaceAll(crm, "name: crm", "name: C R M"),
		"must be a ref":  strings.ReplaceAll(crm, "env:CRM_SECRET", "whsec_x"),
		"rate":           strings.ReplaceAll(crm, "200/s", "often"),
		"is there twice": crm + strings.ReplaceAll(crm, "200/s", "1/s"),
		"no subscr":      "",
	} {
		wants(run("subscriptions", "apply", "-f", file(bad), "--yes"), 2, fault)
	}
}
