package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

const exampleHead = `# An example of a configuration file for outboxd, with every key there is.
#
# A line that begins with "# " explains; one that begins with "#" and a key holds that
# key's default. To change one, take its "#" away. outboxd reads this file from the
# working directory if it is called outboxd.yaml, and from anywhere with --config.
# Flags and environment variables win over it.
#
# This file is generated from the code: go test ./config -update
`

// WriteExample writes outboxd.example.yaml. outboxd.example.yaml has every key with its
// meaning and its default, as a comment below the key's section.
func WriteExample(w io.Writer) error {
	var text bytes.Buffer
	text.WriteString(exampleHead)
	section, indent := "", ""
	for _, o := range new(Config).options() {
		if o.section() != section {
			section, indent = o.section(), "  "
			fmt.Fprintf(&text, "\n%s:\n", section)
		} else {
			text.WriteString("\n")
		}
		meaning := o.help
		if limits := o.limits(); limits != "" {
			meaning += " Allowed: " + limits + "."
		}
		for _, line := range wrap(strings.ReplaceAll(meaning, "`", ""), 92) {
			fmt.Fprintf(&text, "%s# %s\n", indent, line)
		}
		value, err := yaml.Marshal(o.node(o.value))
		if err != nil {
			return fmt.Errorf("write the default of %s: %w", o.key, err)
		}
		fmt.Fprintf(&text, "%s#%s: %s", indent, o.name(), value)
	}
	_, err := text.WriteTo(w)
	return err
}

// wrap breaks text between words, into lines of at most width bytes unless one word is
// longer.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
