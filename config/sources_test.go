package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"outboxd/config"
	"outboxd/config/value"
)

// load loads a configuration from flags and a file.
func load(t *testing.T, file string, flags ...string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	if file != "" {
		if err := os.WriteFile(filepath.Join(dir, config.FileName), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	return config.Load(fs, nil, dir, nil)
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	want := value.Sources{
		{Name: "orders", URL: "postgres://u:p@a,b:5433/orders?target_session_attrs=read-write"},
		{Name: "billing", URL: "postgres://h/billing", PasswordFile: "/run/secret", ListenURL: "postgres://direct/billing", ReadURL: "postgres://standby/billing"},
	}
	for name, c := range map[string]struct {
		file  string
		flags []string
	}{
		"file": {file: `
roles: relay
databases:
  orders: postgres://u:p@a,b:5433/orders?target_session_attrs=read-write
  billing: {url: "postgres://h/billing", password_file: /run/secret, listen_url: postgres://direct/billing, read_url: postgres://standby/billing}
`},
		"text over several lines": {file: `
roles: relay
databases: |
  orders=postgres://u:p@a,b:5433/orders?target_session_attrs=read-write
  billing=postgres://h/billing billing.password_file=/run/secret
  billing.listen_url=postgres://direct/billing billing.read_url=postgres://standby/billing
`},
		"flags": {flags: []string{
			"--roles=relay", "--databases=orders=postgres://u:p@a,b:5433/orders?target_session_attrs=read-write",
			"--databases=billing=postgres://h/billing billing.password_file=/run/secret", "--databases=billing.listen_url=postgres://direct/billing billing.read_url=postgres://standby/billing",
		}},
	} {
		got, err := load(t, c.file, c.flags...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got.Databases) != 2 || got.Databases[0] != want[0] || got.Databases[1] != want[1] {
			t.Errorf("%s: the databases are %v", name, got.Databases)
		}
	}
	if _, err := load(t, "", "--roles=relay,monitor", "--databases=orders=postgres://h/orders billing=postgres://h/billing"); err != nil {
		t.Errorf("the pages of several databases: %v", err)
	}
	one, err := load(t, "", "--databases=orders=postgres://h/orders billing=postgres://h/billing billing.password_file=/p billing.read_url=postgres://standby/billing", "--source=billing", "--notify=log")
	if err != nil || len(one.Databases) != 0 || one.Database.URL != "postgres://h/billing" || one.Database.PasswordFile != "/p" || one.Database.ReadURL != "postgres://standby/billing" || !one.OneOfSeveral() {
		t.Errorf("with one source, the configuration is %+v, %v", one, err)
	}
}

func TestDatabasesAreRefused(t *testing.T) {
	t.Parallel()
	const two = "--databases=orders=postgres://u:hunter2@h/orders billing=postgres://h/billing"
	for name, c := range map[string]struct {
		flags []string
		says  string
	}{
		"no name":             {[]string{"--databases=postgres://u:hunter2@h/orders"}, "an entry has no name"},
		"a bad name":          {[]string{"--databases=Orders=postgres://h/orders"}, "is no name of a database"},
		"two names alike":     {[]string{two, "--databases=orders=postgres://h/other"}, `"orders" is listed twice`},
		"one database":        {[]string{two, "--databases=more=postgresql://v:hunter2@H:5432/orders?sslmode=require"}, `"orders" and "more" are the same database`},
		"one by parameters":   {[]string{two, "--databases=more=postgres:///?host=h&dbname=orders"}, `"orders" and "more" are the same database`},
		"no URL":              {[]string{"--databases=orders.password_file=/p"}, `"orders" has no URL`},
		"an empty URL":        {[]string{"--databases=orders="}, `"orders" is empty`},
		"an unknown key":      {[]string{"--databases=orders=postgres://h/orders orders.pasword_file=/p"}, "is unknown: a database has a URL"},
		"pairs":               {[]string{"--databases=orders=host=h"}, "not as key=value pairs"},
		"another server":      {[]string{"--databases=orders=mysql://u:hunter2@h/orders"}, `the URL of the database "orders": the URL must begin with postgres://`},
		"database.url too":    {[]string{two, "--database-url=postgres://h/x"}, "two answers"},
		"a password file too": {[]string{two, "--database-password-file=/p"}, "password_file of its own"},
		"a read URL too":      {[]string{two, "--database-read-url=postgres://h/x"}, "read_url of its own"},
		"and with a source":   {[]string{two, "--database-read-url=postgres://h/x", "--source=billing"}, "read_url of its own"},
		"a listen URL too":    {[]string{two, "--relay-listen-url=postgres://h/x"}, "listen_url of its own"},
		"all roles":           {[]string{two, "--roles=all"}, "choose orders or billing with source"},
		"an unknown source":   {[]string{two, "--source=stock"}, `there is no database "stock": give orders or billing`},
		"a source of nothing": {[]string{"--source=stock", "--database-url=postgres://h/x"}, "there are no databases to choose from"},
		"a masked password":   {[]string{"--databases=orders=postgres://u:********@h/orders"}, "masked"},
	} {
		_, err := load(t, "", append([]string{"--roles=relay"}, c.flags...)...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the message has the password: %v", name, err)
		}
	}
}
