package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"outboxd/config"
)

// compose is deploy/compose.yaml, as far as it is about outboxd.
type compose struct {
	Services map[string]struct {
		Build struct {
			Context, Dockerfile string
		}
		Image       string
		Command     []string
		Environment map[string]string
		Ports       []string
		Volumes     []string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Healthcheck struct{ Test []string }
	}
	Volumes map[string]any
}

// TestComposeIsTrue gives the flags and the variables of deploy/compose.yaml to outboxd config,
// which refuses unknown ones. Each service, volume and port that the file refers to must be there.
func TestComposeIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	roles := map[string]bool{}
	for name, s := range c.Services {
		for other, on := range s.DependsOn {
			if _, found := c.Services[other]; !found || on.Condition == "service_healthy" && len(c.Services[other].Healthcheck.Test) == 0 {
				t.Errorf("%s waits for %s, which nothing makes healthy", name, other)
			}
		}
		for _, volume := range s.Volumes {
			if source, _, _ := strings.Cut(volume, ":"); !hasKey(c.Volumes, source) {
				t.Errorf("%s uses the volume %s, which is not there", name, source)
			}
		}
		if s.Image != "outboxd" {
			continue
		}
		if s.Build.Context != ".." || s.Build.Dockerfile != "deploy/Containerfile" {
			t.Errorf("%s is built of %+v", name, s.Build)
		}
		var environ, flags []string
		for key, value := range s.Environment {
			environ = append(environ, key+"="+value)
			if host := regexp.MustCompile(`@?([a-z]+):\d+/`).FindStringSubmatch(value); strings.HasSuffix(key, "_URL") && (host == nil || c.Services[host[1]].Image == "") {
				t.Errorf("%s: %s leads to no service", name, key)
			}
		}
		for _, argument := range s.Command {
			if strings.HasPrefix(argument, "--") {
				flags = append(flags, argument)
			}
		}
		r := execute(t, environ, append([]string{"config"}, flags...)...)
		if r.code != 0 {
			t.Errorf("%s: its configuration is refused: %s", name, r.stderr)
			continue
		}
		if slices.Equal(s.Command, []string{"migrate", "up"}) {
			continue
		}
		roles[strings.TrimPrefix(s.Command[0], "--roles=")] = true
		// The service listens on each port that it publishes.
		for _, port := range s.Ports {
			inside := port[strings.LastIndexByte(port, ':')+1:]
			if !slices.ContainsFunc(environ, func(v string) bool { return strings.HasSuffix(v, "_ADDR=:"+inside) }) {
				t.Errorf("%s publishes %s and listens on no such port", name, port)
			}
		}
	}
	for _, role := range []string{"api", "relay", "worker", "monitor"} {
		if !roles[role] {
			t.Errorf("no service has the role %s", role)
		}
	}
}

func hasKey(m map[string]any, key string) bool { _, found := m[key]; return found }

// Each variable of outboxd that a file below deploy names belongs to an option.
func TestDeployNamesOptions(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"OUTBOXD_CONFIG": true}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		known["OUTBOXD_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))] = true
	})
	named := regexp.MustCompile(`OUTBOXD_[A-Z_]*[A-Z]`)
	found := 0
	err := filepath.WalkDir("../deploy", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range named.FindAllString(string(text), -1) {
			if found++; !known[name] {
				t.Errorf("%s names %s, which is no option", path, name)
			}
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d names, %v", found, err)
	}
}
