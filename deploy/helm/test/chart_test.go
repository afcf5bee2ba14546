// Package chart tests the Helm chart: it is linted, rendered for several values, and
// every object is decoded strictly into the type that Kubernetes has for it.
package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

const chartPath = "../outboxd"

// kinds are the types of all objects that the chart may have.
func kinds() map[string]func() any {
	return map[string]func() any{
		"v1/ConfigMap":                            func() any { return new(core.ConfigMap) },
		"v1/Service":                              func() any { return new(core.Service) },
		"v1/ServiceAccount":                       func() any { return new(core.ServiceAccount) },
		"apps/v1/Deployment":                      func() any { return new(apps.Deployment) },
		"batch/v1/Job":                            func() any { return new(batch.Job) },
		"policy/v1/PodDisruptionBudget":           func() any { return new(policy.PodDisruptionBudget) },
		"autoscaling/v2/HorizontalPodAutoscaler":  func() any { return new(autoscaling.HorizontalPodAutoscaler) },
		"networking.k8s.io/v1/NetworkPolicy":      func() any { return new(networking.NetworkPolicy) },
		"monitoring.coreos.com/v1/ServiceMonitor": func() any { return new(monitoring.ServiceMonitor) },
		"monitoring.coreos.com/v1/PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
	}
}

// sets are the values that the chart is rendered with.
func sets(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob("values/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d sets of values, %v", len(files), err)
	}
	all := map[string]map[string]any{"defaults": {}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{}
		if err := yaml.UnmarshalStrict(text, &values); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = values
	}
	return all
}

// object is one rendered object.
type object struct {
	kind, name string
	typed      any
}

// rendered returns the text of each file, or the error of the chart.
func rendered(t *testing.T, values map[string]any) (map[string]string, error) {
	t.Helper()
	chart, err := loader.Load(chartPath)
	if err != nil {
		t.Fatal(err)
	}
	with, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "mail", Namespace: "apps", IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Engine{Strict: true}.Render(chart, with)
}

// render returns the objects, decoded strictly.
func render(t *testing.T, values map[string]any) []object {
	t.Helper()
	files, err := rendered(t, values)
	if err != nil {
		t.Fatal(err)
	}
	var objects []object
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(file) == ".txt" {
			continue
		}
		for _, document := range strings.Split("\n"+files[file], "\n---") {
			if bytes.TrimSpace([]byte(stripComments(document))) == nil || strings.TrimSpace(stripComments(document)) == "" {
				continue
			}
			objects = append(objects, decode(t, file, document))
		}
	}
	return objects
}

func stripComments(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func decode(t *testing.T, file, document string) object {
	t.Helper()
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	text, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		t.Fatalf("%s: %v\n%s", file, err, document)
	}
	if err := json.Unmarshal(text, &head); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	kind := head.APIVersion + "/" + head.Kind
	make, known := kinds()[kind]
	if !known {
		t.Fatalf("%s: the kind %s is not one of the chart's\n%s", file, kind, document)
	}
	typed := make()
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(typed); err != nil {
		t.Errorf("%s: %s %s: %v", file, kind, head.Metadata.Name, err)
	}
	if faults := validation.IsDNS1123Subdomain(head.Metadata.Name); len(faults) > 0 {
		t.Errorf("%s: the name %q: %v", file, head.Metadata.Name, faults)
	}
	for key, value := range head.Metadata.Labels {
		if faults := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(faults) > 0 {
			t.Errorf("%s: the label %s=%s: %v", file, key, value, faults)
		}
	}
	return object{kind: head.Kind, name: head.Metadata.Name, typed: typed}
}

func TestTheChartIsClean(t *testing.T) {
	t.Parallel()
	for name, values := range sets(t) {
		for _, message := range lint.All(chartPath, values, "apps", true).Messages {
			if message.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, message)
			}
		}
	}
}

func TestEveryObjectIsKubernetesOwn(t *testing.T) {
	t.Parallel()
	for name, values := range sets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counts := map[string]int{}
			seen := map[string]bool{}
			for _, o := range render(t, values) {
				counts[o.kind]++
				if key := o.kind + " " + o.name; seen[key] {
					t.Errorf("%s is there twice", key)
				} else {
					seen[key] = true
				}
				switch typed := o.typed.(type) {
				case *apps.Deployment:
					checkPod(t, o.name, typed.Spec.Template.Spec)
					for key, value := range typed.Spec.Selector.MatchLabels {
						if typed.Spec.Template.Labels[key] != value {
							t.Errorf("%s does not select its own pods: %s", o.name, key)
						}
					}
					container := typed.Spec.Template.Spec.Containers[0]
					if container.LivenessProbe.HTTPGet.Path != "/healthz" || container.ReadinessProbe.HTTPGet.Path != "/readyz" {
						t.Errorf("%s has other probes", o.name)
					}
				case *batch.Job:
					checkPod(t, o.name, typed.Spec.Template.Spec)
					if typed.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" {
						t.Errorf("the migrations run %q", typed.Annotations["helm.sh/hook"])
					}
				case *monitoring.PrometheusRule:
					sameRules(t, typed)
				}
			}
			t.Log(fmt.Sprint(counts))
		})
	}
}

// checkPod checks what must hold for every pod: no secret in plain text, no rights that it
// does not need, no token of Kubernetes, and a limit of memory.
func checkPod(t *testing.T, name string, pod core.PodSpec) {
	t.Helper()
	for _, c := range pod.Containers {
		if faults := validation.IsDNS1123Label(c.Name); len(faults) > 0 {
			t.Errorf("%s: the container %q: %v", name, c.Name, faults)
		}
		for _, v := range c.Env {
			if faults := validation.IsEnvVarName(v.Name); len(faults) > 0 {
				t.Errorf("%s: the variable %q: %v", name, v.Name, faults)
			}
			secret := strings.HasSuffix(v.Name, "_URL") || strings.HasSuffix(v.Name, "_TOKEN")
			if secret && (v.ValueFrom == nil || v.ValueFrom.SecretKeyRef == nil) {
				t.Errorf("%s has %s in plain text", name, v.Name)
			}
		}
		if s := c.SecurityContext; s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s may more than it needs", name)
		}
		if c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s has no limit of memory, which Go's limit follows", name)
		}
	}
	if !*pod.SecurityContext.RunAsNonRoot {
		t.Errorf("%s runs as root", name)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("%s has a token of Kubernetes", name)
	}
}

// sameRules compares the rules with those for a Prometheus without the operator.
func sameRules(t *testing.T, got *monitoring.PrometheusRule) {
	t.Helper()
	text, err := os.ReadFile("../../prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(text, &want); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(got.Spec)
	if !bytes.Equal(a, b) || len(want.Groups) == 0 {
		t.Error("the rules of the chart are not those of deploy/prometheus/alerts.yaml; files/alerts.yaml is to be a link to it")
	}
}
