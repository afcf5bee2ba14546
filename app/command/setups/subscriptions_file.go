package setups

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"outboxd/config"
	"outboxd/domain/setup"
)

// subscriptionFile is one subscription in the form of the YAML file.
type subscriptionFile struct {
	Name        string            `yaml:"name"`
	Types       []string          `yaml:"types"`
	Headers     map[string]string `yaml:"headers"`
	URL         string            `yaml:"url"`
	Secret      oneOrMore         `yaml:"secret"`
	Format      string            `yaml:"format"`
	Timeout     time.Duration     `yaml:"timeout"`
	Concurrency int               `yaml:"concurrency"`
	Rate        string            `yaml:"rate"`
	Retry       struct {
		Attempts int           `yaml:"attempts"`
		Max      time.Duration `yaml:"max"`
	} `yaml:"retry"`
	Ordering       string `yaml:"ordering"`
	InsteadOfQueue bool   `yaml:"instead_of_queue"`
}

// oneOrMore is a text or a list of texts.
type oneOrMore []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (o *oneOrMore) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*o = oneOrMore{node.Value}
		return nil
	}
	return node.Decode((*[]string)(o))
}

// readSubscriptions reads a list of subscriptions from YAML and fills in defaults.
// Unknown keys and repeated names are errors.
func readSubscriptions(r io.Reader) ([]setup.Subscription, error) {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	var files []subscriptionFile
	if err := decoder.Decode(&files); err != nil && !errors.Is(err, io.EOF) {
		return nil, config.Mistake{Err: fmt.Errorf("read subscriptions: %w", err)}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, config.Mistake{Err: errors.New("the file has more than one YAML document: write all subscriptions into one list")}
	}
	named := map[string]bool{}
	list := make([]setup.Subscription, len(files))
	for i := range files {
		f := &files[i]
		rate, err := perSecond(f.Rate)
		if err != nil {
			return nil, config.Mistake{Err: fmt.Errorf("subscription %q: %w", f.Name, err)}
		}
		list[i] = setup.Subscription{
			Name: f.Name, Types: f.Types, Headers: f.Headers, URL: f.URL, Secrets: f.Secret, Format: f.Format, Timeout: f.Timeout, Concurrency: f.Concurrency,
			Rate: rate, Attempts: f.Retry.Attempts, RetryMax: f.Retry.Max, Ordering: f.Ordering, InsteadOfQueue: f.InsteadOfQueue,
		}.WithDefaults()
		if err := list[i].Validate(); err != nil {
			return nil, config.Mistake{Err: err}
		}
		if named[f.Name] {
			return nil, config.Mistake{Err: fmt.Errorf("subscription %q is there twice", f.Name)}
		}
		named[f.Name] = true
	}
	if len(list) == 0 {
		return nil, config.Mistake{Err: errors.New("the file has no subscriptions")}
	}
	return list, nil
}

// perSecond reads a rate such as 200/s or 30/m; "" means no limit.
func perSecond(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit, found := strings.Cut(text, "/")
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if !found || seconds == 0 || err != nil || !(n > 0 && n <= 1e6) { // NaN too
		return 0, fmt.Errorf("rate %.40q: write a number a second, minute or hour, such as 200/s or 30/m", text)
	}
	return n / seconds, nil
}
