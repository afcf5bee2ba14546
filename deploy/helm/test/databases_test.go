package chart

import (
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// environment returns the variables of a container, as Kubernetes sets them. The value
// from a secret is its name and key, as name/key.
func environment(t *testing.T, c core.Container) map[string]string {
	t.Helper()
	values := map[string]string{}
	var replaced []string
	for _, v := range c.Env {
		value := strings.NewReplacer(replaced...).Replace(v.Value)
		if v.ValueFrom != nil {
			value = v.ValueFrom.SecretKeyRef.Name + "/" + v.ValueFrom.SecretKeyRef.Key
		}
		if strings.Contains(value, "$(") {
			t.Errorf("%s: %s refers to a variable that does not come before it: %s", c.Name, v.Name, value)
		}
		values[v.Name] = value
		replaced = append(replaced, "$("+v.Name+")", value)
	}
	return values
}

// containers returns the first container of each Deployment, by the name of the Deployment, and
// all containers of the Job, by their own names.
func containers(t *testing.T, values map[string]any) map[string]core.Container {
	t.Helper()
	found := map[string]core.Container{}
	for _, o := range render(t, values) {
		switch typed := o.typed.(type) {
		case *apps.Deployment:
			found[o.name] = typed.Spec.Template.Spec.Containers[0]
		case *batch.Job:
			for _, c := range typed.Spec.Template.Spec.Containers {
				found[c.Name] = c
			}
		}
	}
	return found
}

func TestEachProcessKnowsItsDatabases(t *testing.T) {
	t.Parallel()
	all := sets(t)
	const several = "billing_eu=billing/url billing_eu.password_file=/run/secrets/billing/password " +
		"orders=orders/url orders.listen_url=orders/listen-url orders.read_url=orders/read-url"
	tests := []struct {
		set, container         string
		url, databases, source string
		passwordFile           string
		hasPasswordFile        bool
	}{
		{set: "defaults", container: "mail-relay", url: "outboxd/database-url"},
		{set: "defaults", container: "migrate", url: "outboxd/database-url"},
		{set: "tls.yaml", container: "migrate", url: "owner/url", hasPasswordFile: true},
		{set: "several-databases.yaml", container: "mail-relay", databases: several},
		{set: "several-databases.yaml", container: "mail-monitor", databases: several},
		{set: "several-databases.yaml", container: "mail-worker", databases: several, source: "orders"},
		{set: "several-databases.yaml", container: "mail-api", databases: several, source: "billing_eu"},
		{set: "several-databases.yaml", container: "orders-migrate", url: "orders-owner/url", hasPasswordFile: true},
		{set: "several-databases.yaml", container: "billing-eu-migrate", url: "billing/url", hasPasswordFile: true, passwordFile: "/run/secrets/billing/password"},
	}
	for _, test := range tests {
		c, found := containers(t, all[test.set])[test.container]
		if !found {
			t.Errorf("%s: there is no container of %s", test.set, test.container)
			continue
		}
		got := environment(t, c)
		file, hasFile := got["OUTBOXD_DATABASE_PASSWORD_FILE"]
		if got["DATABASE_URL"] != test.url || got["OUTBOXD_DATABASES"] != test.databases || got["OUTBOXD_SOURCE"] != test.source ||
			file != test.passwordFile || hasFile != test.hasPasswordFile {
			t.Errorf("%s: %s has %v", test.set, test.container, got)
		}
	}
}

func TestEveryContainerHasTheVolumes(t *testing.T) {
	t.Parallel()
	for name, c := range containers(t, sets(t)["tls.yaml"]) {
		for _, path := range []string{"/run/secrets/passwords", "/run/secrets/redis"} {
			if !slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return m.MountPath == path }) {
				t.Errorf("%s has no %s", name, path)
			}
		}
		if environment(t, c)["REDIS_URL"] == "" {
			t.Errorf("%s has options about Redis and no REDIS_URL, which outboxd refuses", name)
		}
	}
}

func TestBadCombinationsAreRefused(t *testing.T) {
	t.Parallel()
	const two = "worker: {source: orders}\ndatabases: {orders: {url: {name: orders, key: url}}, billing: {url: {name: billing, key: url}}}\n"
	const one = "worker: {source: orders}\ndatabases:\n  orders: "
	tests := map[string]struct{ values, want string }{
		"a worker of all":         {strings.Replace(two, "source: orders", "", 1), "set worker.source to billing or orders, or worker.enabled to false"},
		"a source of nothing":     {"worker: {source: orders}", "is not one of databases"},
		"an unknown source":       {two + "api: {source: stock}", `api.source is "stock"`},
		"databases in plain text": {"config: {databases: {orders: postgres://u:p@h/orders}}", "config is in a ConfigMap"},
		"a URL in plain text":     {one + "postgres://u:p@h/orders", "databases.orders is not a map"},
		"no URL":                  {one + "{passwordFile: /p}", "databases.orders.url needs the name and the key"},
		"no key":                  {one + "{url: {name: a, key: b}, readURL: {name: a}}", "databases.orders.readURL needs the name and the key"},
		"an unknown key":          {one + "{url: {name: a, key: b}, password_file: /p}", "databases.orders.password_file is unknown"},
		"a bad name":              {"databases: {Orders: {url: {name: a, key: b}}}", "is no name of a database"},
		"names alike":             {"databases: {a_b: {url: {name: a, key: b}}, a-b: {url: {name: a, key: c}}}", "differ only in _ and -"},
		"an owner of all":         {two + "secrets: {migrationURL: {name: owner}}", "unset secrets.migrationURL"},
		"a password file of all":  {two + "config: {database: {password_file: /p}}", "config.database.password_file is for one database"},
		"a listen_url of all":     {two + "config: {relay: {listen_url: postgres://h/x}}", "config.relay.listen_url is for one database"},
		"a variable of one":       {two + "env: [{name: DATABASE_URL, value: x}]", "DATABASE_URL in env is for one database"},
		"the chart's volume":      {"volumes: [{name: data, emptyDir: {}}]", "the chart has a volume data of its own"},
		"no such volume":          {"volumeMounts: [{name: ca, mountPath: /ca}]", `volumeMounts names "ca"`},
	}
	for name, test := range tests {
		values := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(test.values), &values); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := rendered(t, values); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
