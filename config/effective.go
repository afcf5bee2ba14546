package config

import (
	"fmt"
	"io"

	"gopkg.in/yaml.v3"

	"outboxd/config/value"
	"outboxd/config/words"
)

// HereOnly warns people who want to know the configuration of a running process: the effective configuration may be
// another one.
const HereOnly = "The configuration that this command line, environment and file give. A running outboxd may have another one."

// WriteYAML writes the effective configuration as a configuration file. Secrets are masked. A comment beside
// each value says where the value came from: the default, a file and its line, a variable or a flag. Load can
// read this output again, but refuses a masked value.
func (c *Config) WriteYAML(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode, HeadComment: HereOnly + "\nSecrets are masked."}
	section, mapping := "", root
	for _, o := range c.options() {
		if o.section() != section {
			section, mapping = o.section(), &yaml.Node{Kind: yaml.MappingNode}
			root.Content = append(root.Content, textNode(section), mapping)
		}
		node := o.node(value.Format(o.field))
		node.LineComment = c.origin(o.key)
		if derived := c.derived(o.key); derived != "" {
			node.LineComment += "; " + derived + " in this process"
		}
		mapping.Content = append(mapping.Content, textNode(o.name()), node)
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("write the effective configuration: %w", err)
	}
	return encoder.Close()
}

// Setting is an option with its effective value.
type Setting struct {
	Key    string // as in the file: section.name, or name
	Value  string // secrets are masked
	Origin string // the default, a file and its line, a variable or a flag
	// Derived is what a Value of 0 stands for, on this machine and with these roles; "" if the Value stands for
	// itself.
	Derived string
}

// Settings returns every option with its effective value, in the order of the table.
func (c *Config) Settings() []Setting {
	var settings []Setting
	for _, o := range c.options() {
		settings = append(settings, Setting{o.key, value.Format(o.field), c.origin(o.key), c.derived(o.key)})
	}
	return settings
}

// origin returns where the value of a key came from.
func (c *Config) origin(key string) string {
	switch origin := c.origins[key]; {
	case origin == "":
		return "default"
	case !words.IsPlain(origin): // a file name can hold a newline, a comment cannot
		return words.Quote(origin)
	default:
		return origin
	}
}

// node returns a value of the option as YAML. A whole number becomes a YAML integer. A
// value that is no whole number becomes YAML text, which the encoder puts in quotes where
// a YAML reader could mistake it for another type.
func (o *option) node(text string) *yaml.Node {
	node := textNode(text)
	if o.kind() == "int" {
		node.Tag = "!!int"
	}
	return node
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}
