package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"outboxd/config/value"
)

// An option is one entry of the table.
type option struct {
	field    any    // where the value goes: a pointer into a Config
	key      string // its place in the file: section.name, or name
	value    string // the default, as value.Parse reads it
	help     string // whole sentences, for flags, reference and example alike
	min, max string // limits of numbers, sizes and durations, as validator reads them; "" for none
	choices  []string
	optional bool     // may be empty
	aliases  []string // further variables, weaker than the option's own
	check    func(text string) error
}

func (o *option) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(o.key) }

func (o *option) variable() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.key, ".", "_"))
}

// section returns the section of the option's key, or "" if the key is in no section.
func (o *option) section() string {
	if section, _, found := strings.Cut(o.key, "."); found {
		return section
	}
	return ""
}

// name returns the key inside its section.
func (o *option) name() string { return o.key[strings.LastIndexByte(o.key, '.')+1:] }

// names returns the key, the flag and the variable of the option, for messages.
func (o *option) names() string { return o.key + " (--" + o.flag() + ", " + o.variable() + ")" }

func (o *option) isSecret() bool {
	switch o.field.(type) {
	case *value.Secret, *value.SecretURL, *value.Sources:
		return true
	default:
		return false
	}
}

func (o *option) isList() bool {
	switch o.field.(type) {
	case *Roles, *value.Networks, *value.Names, *value.Queues, *value.Bounds, *value.Tokens, *value.Grants, *value.Sources:
		return true
	default:
		return false
	}
}

// isMap reports whether the file may give the value as a map from names to single values.
// Databases are a map of another kind; see sourcesText.
func (o *option) isMap() bool {
	switch o.kind() {
	case "weights", "bounds", "tokens", "roles":
		return true
	default:
		return false
	}
}

// separator returns the text between two entries of a list. Databases have spaces between
// them, because their URLs may contain commas.
func (o *option) separator() string {
	if o.kind() == "databases" {
		return " "
	}
	return ","
}

// kind returns the type of the option's value in one word, such as int.
func (o *option) kind() string {
	switch o.field.(type) {
	case *int:
		return "int"
	case *time.Duration:
		return "duration"
	case *value.Size:
		return "size"
	case *Roles, *value.Networks, *value.Names:
		return "list"
	case *value.Queues:
		return "weights"
	case *value.Bounds:
		return "bounds"
	case *value.Tokens:
		return "tokens"
	case *value.Grants:
		return "roles"
	case *value.Sources:
		return "databases"
	case *value.Secret:
		return "secret"
	case *value.SecretURL:
		return "url"
	default:
		return "string"
	}
}

// rule returns the limits and choices as a struct tag of the package validator.
func (o *option) rule() string {
	var rules []string
	if len(o.choices) > 0 {
		rules = append(rules, "oneof="+strings.Join(o.choices, " "))
	}
	if o.min != "" {
		rules = append(rules, "min="+o.min)
	}
	if o.max != "" {
		rules = append(rules, "max="+o.max)
	}
	return strings.Join(rules, ",")
}

// limits returns the limits and choices as text for a reader.
func (o *option) limits() string {
	switch low, high := o.limit(o.min), o.limit(o.max); {
	case len(o.choices) > 0:
		return strings.Join(o.choices, ", ")
	case low != "" && high != "":
		return low + " to " + high
	case low != "":
		return low + " or more"
	default:
		return ""
	}
}

// limit writes a limit as the option's values are written, such as 30s or 8MiB.
func (o *option) limit(text string) string {
	field := reflect.New(reflect.TypeOf(o.field).Elem()).Interface()
	if text == "" || value.Parse(field, text) != nil {
		return text
	}
	return value.Format(field)
}

// fault returns a Fault of the option. The problem must not contain a secret.
func (o *option) fault(origin, problem string) Fault {
	return Fault{Key: o.key, Flag: "--" + o.flag(), Variable: o.variable(), Origin: origin, Problem: problem}
}

// configOption returns the option that names the configuration file. The configuration
// file cannot set this option.
func configOption() *option {
	return &option{
		field: new(string), key: "config", optional: true,
		help: "Configuration file in YAML. Without it outboxd.yaml in the working directory is read if there is one; an empty name reads none.",
	}
}

// AddFlags adds a flag for every option, and --config. The flags take any text: Load
// checks the text, so that one message can name several faults. The user may repeat the
// flag of a list option to add entries.
func AddFlags(fs *pflag.FlagSet) {
	add := func(o *option) {
		value := &flagValue{option: o, text: o.value}
		help := strings.ReplaceAll(o.help, "`", "")
		if len(o.choices) > 0 {
			help += " One of " + o.limits() + "."
		}
		fs.Var(value, o.flag(), help)
	}
	add(configOption())
	for _, o := range new(Config).options() {
		add(o)
	}
}

// Choices returns, by flag, the possible values of each option that has a fixed set of
// values.
func Choices() map[string][]string {
	choices := map[string][]string{}
	for _, o := range new(Config).options() {
		if len(o.choices) > 0 {
			choices[o.flag()] = o.choices
		}
	}
	return choices
}

// flagValue is the text of a flag.
type flagValue struct {
	option *option
	text   string
	given  bool
}

func (v *flagValue) String() string { return v.text }

func (v *flagValue) Set(text string) error {
	if v.given && v.option.isList() {
		text = v.text + v.option.separator() + text
	}
	v.text, v.given = text, true
	return nil
}

// Replace sets a flag that AddFlags added. For a list option the text replaces the entries
// that were given before.
func Replace(fs *pflag.FlagSet, name, text string) error {
	if flag := fs.Lookup(name); flag != nil {
		if value, ok := flag.Value.(*flagValue); ok {
			value.given = false
		}
	}
	return fs.Set(name, text)
}

func (v *flagValue) Type() string { return v.option.kind() }
