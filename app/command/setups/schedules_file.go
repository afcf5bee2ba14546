package setups

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/schedules"
)

// scheduleFile is one schedule in a file.
type scheduleFile struct {
	Name      string            `yaml:"name"`
	Cron      string            `yaml:"cron"`
	TimeZone  string            `yaml:"time_zone"`
	Missed    setup.MissedRule  `yaml:"missed"`
	Type      string            `yaml:"type"`
	Payload   jsonValue         `yaml:"payload"`
	Headers   map[string]string `yaml:"headers"`
	Queue     string            `yaml:"queue"`
	Key       string            `yaml:"key"`
	MaxRetry  *int              `yaml:"max_retry"`
	Timeout   time.Duration     `yaml:"timeout"`
	Retention time.Duration     `yaml:"retention"`
	Unique    time.Duration     `yaml:"unique"`
}

// readSchedules reads a list of schedules from YAML and fills in defaults. Unknown
// keys and repeated names are errors.
func readSchedules(r io.Reader) ([]setup.Schedule, error) {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	var files []scheduleFile
	if err := decoder.Decode(&files); err != nil && !errors.Is(err, io.EOF) {
		return nil, config.Mistake{Err: fmt.Errorf("read schedules: %w", err)}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, config.Mistake{Err: errors.New("the file has more than one YAML document: write all schedules into one list")}
	}
	if len(files) == 0 {
		return nil, config.Mistake{Err: errors.New("the file has no schedules")}
	}
	named := map[string]bool{}
	list := make([]setup.Schedule, len(files))
	for i := range files {
		var err error
		if list[i], err = files[i].schedule(); err != nil {
			return nil, config.Mistake{Err: err}
		}
		if named[list[i].Name] {
			return nil, config.Mistake{Err: fmt.Errorf("schedule %q is there twice", list[i].Name)}
		}
		named[list[i].Name] = true
	}
	return list, nil
}

// jsonValue is a value of YAML that becomes JSON without a change of what is written: YAML would make a time of a
// date, and another number of 0123.
type jsonValue struct{ value any }

func (v *jsonValue) UnmarshalYAML(node *yaml.Node) error {
	if err := asWritten(node); err != nil {
		return err
	}
	return node.Decode(&v.value)
}

// asWritten makes texts of the dates below a node. It refuses numbers that JSON does not have or cannot carry exactly.
func asWritten(node *yaml.Node) error {
	for _, child := range node.Content {
		if err := asWritten(child); err != nil {
			return err
		}
	}
	if node.Kind != yaml.ScalarNode {
		return nil
	}
	switch node.ShortTag() {
	case "!!timestamp":
		node.Tag = "!!str"
	case "!!int", "!!float":
		if !json.Valid([]byte(node.Value)) || !strings.ContainsAny(node.Value, ".eE") && len(node.Value) > 18 {
			return fmt.Errorf("line %d: %.60q is no number of JSON, or one that few programs read exactly: write it in quotes, as a text, or with at most 18 digits and without leading zeros", node.Line, node.Value)
		}
	}
	return nil
}

func (f *scheduleFile) schedule() (setup.Schedule, error) {
	payload := []byte("{}")
	if f.Payload.value != nil {
		var err error
		if payload, err = json.Marshal(f.Payload.value); err != nil {
			return setup.Schedule{}, fmt.Errorf("schedule %q: the payload cannot be written as JSON: %w", f.Name, err)
		}
	}
	s := setup.Schedule{
		Name: f.Name, Cron: f.Cron, TimeZone: f.TimeZone, Missed: f.Missed,
		Event: domain.Event{
			Type: f.Type, Payload: payload, Headers: f.Headers, Queue: f.Queue, OrderingKey: f.Key,
			Options: domain.TaskOptions{MaxRetry: f.MaxRetry, Timeout: f.Timeout, Retention: f.Retention, Unique: f.Unique},
		},
	}.WithDefaults()
	if f.Timeout < 0 || f.Retention < 0 || f.Unique < 0 || f.MaxRetry != nil && *f.MaxRetry < 0 {
		return s, fmt.Errorf("schedule %q: max_retry, timeout, retention and unique must not be negative", f.Name)
	}
	_, err := schedules.Check(&s)
	return s, err
}
