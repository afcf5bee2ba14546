package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const hidden = "hunter2hunter2hunter2"

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	key := "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
	c := setting{env: []string{
		"OUTBOXD_ADMIN_TOKEN=" + hidden,
		"OUTBOXD_DATABASE_URL=postgres://ada:" + hidden + "@db.example.com/app?sslmode=require",
		"OUTBOXD_RELAY_LISTEN_URL=host=db.example.com user=ada password='" + hidden + " x' dbname=app",
		"OUTBOXD_REDIS_URL=redis://:" + hidden + "@redis.example.com:6379/2",
		"OUTBOXD_SMTP_USERNAME=ada", "OUTBOXD_SMTP_PASSWORD=" + hidden,
		"OUTBOXD_WEBHOOK_URL=https://ada:" + hidden + "@hook.example.com/x?token=" + hidden + "&a=b",
		"OUTBOXD_WEBHOOK_SECRET=" + key, "OUTBOXD_NOTIFY=webhook",
	}}.mustLoad(t)
	if string(c.AdminToken) != hidden || !strings.Contains(string(c.Database.URL), hidden) {
		t.Fatal("the secrets did not arrive")
	}

	var logged strings.Builder
	logger := slog.New(slog.NewJSONHandler(&logged, nil))
	logger.Info("config", "config", c, "token", c.AdminToken, "url", c.Redis.URL)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("config", "config", c, "token", c.AdminToken, "url", c.Redis.URL)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown := effective(t, c)
	for name, text := range map[string]string{
		"WriteYAML": shown, "slog": logged.String(), "JSON": string(asJSON), "YAML": string(asYAML),
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", *c),
	} {
		if strings.Contains(text, hidden) || strings.Contains(text, key) {
			t.Errorf("%s shows a secret:\n%s", name, text)
		}
	}
	for _, want := range []string{
		"postgres://ada:********@db.example.com/app?sslmode=require",
		"host=db.example.com user=ada password=******** dbname=app",
		"redis://:********@redis.example.com:6379/2",
		"https://ada:********@hook.example.com/x?token=********&a=b",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %s in\n%s", want, shown)
		}
	}
}

func TestFaultsShowNoSecret(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]setting{
		"token":                  {env: []string{"OUTBOXD_ADMIN_TOKEN=hunter2"}},
		"webhook key":            {env: []string{"OUTBOXD_WEBHOOK_SECRET=hunter2"}},
		"database scheme":        {env: []string{"DATABASE_URL=mysql://u:hunter2@h/d"}},
		"database as scheme":     {env: []string{"DATABASE_URL=hunter2://x"}},
		"database port":          {env: []string{"DATABASE_URL=postgres://u:hunter2/x@h/d"}},
		"database escape":        {env: []string{"DATABASE_URL=postgres://u:hunter2%@h/d"}},
		"database pairs":         {env: []string{"DATABASE_URL=host=h password='hunter2"}},
		"database word":          {env: []string{"DATABASE_URL=hunter2"}},
		"redis":                  {env: []string{"REDIS_URL=redis://:hunter2#x@h:1"}},
		"redis word":             {env: []string{"REDIS_URL=hunter2"}},
		"redis sentinel":         {env: []string{"REDIS_URL=redis-sentinel://:hunter2@h:1"}},
		"webhook URL":            {env: []string{"OUTBOXD_WEBHOOK_URL=ftp://u:hunter2@h"}},
		"control characters":     {env: []string{"OUTBOXD_SMTP_USERNAME=u", "OUTBOXD_SMTP_PASSWORD=hunter2\x01"}},
		"masked":                 {env: []string{"OUTBOXD_ADMIN_TOKEN=hunter2********"}},
		"password without user":  {env: []string{"OUTBOXD_SMTP_PASSWORD=hunter2", "OUTBOXD_NOTIFY=smtp"}},
		"unknown variable":       {env: []string{"OUTBOXD_TOKEN=hunter2"}},
		"space missing":          {file: "admin_token:hunter2\n"},
		"space missing, flow":    {file: "{admin_token:hunter2}\n"},
		"space missing, section": {file: "smtp:\n  password:hunter2: x\n"},
		"taken for an alias":     {file: "admin_token: *hunter2\n"},
		"list":                   {file: "admin_token: [hunter2]\n"},
		"unclosed":               {file: "admin_token: \"hunter2\nroles: all\n"},
		"bad escape":             {file: "admin_token: \"hunter2\\q\"\n"},
		"tab":                    {file: "smtp:\n\tpassword: hunter2\n"},
		"tag":                    {file: "admin_token: !hunter2\n"},
		"percent":                {file: "%hunter2\nroles: all\n"},
		"URL as a key":           {file: "database:\n  postgres://u:hunter2@h/d: x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := set.load(t)
			if err == nil {
				if name == "tag" { // a tag without a value is an empty token
					return
				}
				t.Fatal("no fault")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is shown:\n%v", err)
			}
		})
	}
}
