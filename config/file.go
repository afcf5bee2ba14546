package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"outboxd/domain/smallfile"
)

// FileName is the configuration file that outboxd reads if no other file is named.
const FileName = "outboxd.yaml"

const maxFile = 1 << 20 // bytes

// readFile finds the configuration file and reads the values in it.
func (l *loading) readFile(flags *pflag.FlagSet, variables map[string]string, dir string) {
	o := configOption()
	name, origin := FileName, ""
	if text, found := variables[o.variable()]; found {
		name, origin = text, "environment "+o.variable()
	}
	if flags != nil {
		if flag := flags.Lookup(o.flag()); flag != nil && flag.Changed {
			name, origin = flag.Value.String(), "flag --"+o.flag()
		}
	}
	if name == "" {
		return
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	text, err := smallfile.Read(name, maxFile)
	if origin == "" && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.faults = append(l.faults, o.fault(origin, "the configuration file cannot be read: "+err.Error()))
		return
	}
	l.config.path = name
	l.parseFile(name, text)
}

// yamlFile reads one file. yamlFile works on YAML nodes, because YAML nodes have line
// numbers.
type yamlFile struct {
	*loading
	name string
	seen map[string]int // key to line
}

func (l *loading) parseFile(name string, text []byte) {
	file := &yamlFile{loading: l, name: name, seen: map[string]int{}}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return // nothing but comments
	}
	if err != nil {
		file.refuse(0, "", yamlProblem(err))
		return
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		file.refuse(0, "", "the file must hold one YAML document")
		return
	}
	root := resolveAlias(document.Content[0])
	if isNull(root) {
		return
	}
	if root.Kind != yaml.MappingNode {
		file.refuse(root.Line, "", "the file must hold keys and values, such as roles: all")
		return
	}
	sections := map[string]bool{}
	for _, o := range l.options {
		sections[o.section()] = true
	}
	delete(sections, "") // keys outside all sections
	file.pairs(root, "", func(key string, value *yaml.Node) {
		switch {
		case !sections[key]:
			file.option(key, value)
		case value.Kind == yaml.MappingNode:
			file.pairs(value, key+".", file.option)
		case !isNull(value):
			file.refuse(value.Line, key, fmt.Sprintf("%s is a section: put its keys below it, indented", key))
		}
	})
}

// pairs calls its argument each with every key of a YAML mapping and the key's value. It refuses
// the second of two equal keys.
func (f *yamlFile) pairs(mapping *yaml.Node, prefix string, each func(key string, value *yaml.Node)) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		name, value := resolveAlias(mapping.Content[i]), resolveAlias(mapping.Content[i+1])
		key := prefix + name.Value
		if line, twice := f.seen[key]; twice {
			f.refuse(name.Line, plainName(key), fmt.Sprintf("the key stands in line %d already: keep one of them", line))
			continue
		}
		f.seen[key] = name.Line
		each(key, value)
	}
}

func (f *yamlFile) option(key string, value *yaml.Node) {
	o, found := f.byKey[key]
	if !found {
		f.unknown(key, value.Line)
		return
	}
	if isNull(value) {
		return
	}
	text, ok := nodeText(value, o)
	if !ok {
		f.broken[key] = true
		f.faults = append(f.faults, o.fault(f.origin(value.Line), "the value must be "+shape(o)))
		return
	}
	f.set(o, text, f.origin(value.Line))
}

func (f *yamlFile) unknown(key string, line int) {
	hint := f.suggestion(key)
	if o, dotted := f.byKey[key[strings.LastIndexByte(key, '.')+1:]]; dotted && strings.Contains(key, ".") {
		hint = ". " + o.key + " belongs to no section: write it without indentation"
	}
	f.refuse(line, plainName(key), "there is no such key: remove it or correct its name"+hint)
}

func (f *yamlFile) origin(line int) string {
	if line == 0 {
		return "file " + f.name
	}
	return fmt.Sprintf("file %s:%d", f.name, line)
}

func (f *yamlFile) refuse(line int, key, problem string) {
	fault := Fault{Key: key, Origin: f.origin(line), Problem: problem}
	if key == "" {
		fault = configOption().fault(f.origin(line), problem)
	}
	f.faults = append(f.faults, fault)
}

// nodeText returns a YAML value in the text form that flags and variables use. A list or
// map option may be written as a YAML list or map.
func nodeText(value *yaml.Node, o *option) (string, bool) {
	var entries []string
	isMap := o.isMap()
	if o.kind() == "databases" && value.Kind == yaml.MappingNode {
		return sourcesText(value)
	}
	switch {
	case value.Kind == yaml.ScalarNode:
		return value.Value, true
	case value.Kind == yaml.SequenceNode && o.isList():
		for _, entry := range value.Content {
			entry = resolveAlias(entry)
			if entry.Kind != yaml.ScalarNode || strings.Contains(entry.Value, o.separator()) {
				return "", false
			}
			entries = append(entries, entry.Value)
		}
	case value.Kind == yaml.MappingNode && isMap:
		for i := 0; i+1 < len(value.Content); i += 2 {
			name, weight := resolveAlias(value.Content[i]), resolveAlias(value.Content[i+1])
			if name.Kind != yaml.ScalarNode || weight.Kind != yaml.ScalarNode || strings.ContainsAny(name.Value+weight.Value, "=,") {
				return "", false
			}
			entries = append(entries, name.Value+"="+weight.Value)
		}
	default:
		return "", false
	}
	return strings.Join(entries, o.separator()), true
}

// sourcesText returns a map of databases as text. The value of a name is a URL, or a map.
func sourcesText(mapping *yaml.Node) (string, bool) {
	var entries []string
	add := func(key string, value *yaml.Node) bool {
		ok := value.Kind == yaml.ScalarNode && !strings.ContainsAny(key+value.Value, " \t\r\n")
		entries = append(entries, key+"="+value.Value)
		return ok
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		name, value := resolveAlias(mapping.Content[i]), resolveAlias(mapping.Content[i+1])
		if value.Kind != yaml.MappingNode {
			if !add(name.Value, value) {
				return "", false
			}
			continue
		}
		for j := 0; j+1 < len(value.Content); j += 2 {
			key := name.Value
			if part := resolveAlias(value.Content[j]).Value; part != "url" {
				key += "." + part
			}
			if !add(key, resolveAlias(value.Content[j+1])) {
				return "", false
			}
		}
	}
	return strings.Join(entries, " "), true
}

func shape(o *option) string {
	switch {
	case o.kind() == "weights":
		return "a map of names and weights, or text such as default=3,low=1"
	case o.kind() == "databases":
		return "a map of names to URLs, or to maps with url, password_file, listen_url and read_url, without spaces"
	case o.isList():
		return "a list, or text with commas between the entries"
	default:
		return "a single value"
	}
}

func resolveAlias(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// yamlProblem returns the message of the YAML parser. yamlProblem replaces the parser's
// message about an anchor, because the parser's message quotes the file, and the quoted
// text may be a secret that begins with an asterisk.
func yamlProblem(err error) string {
	if strings.Contains(err.Error(), "anchor") {
		return "the file is not valid YAML: a value that begins with * or & must be in quotes"
	}
	return "the file is not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
}
