package config

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"outboxd/config/address"
	"outboxd/config/value"
	"outboxd/config/words"
)

// loading is one run of Load. Load gives the values of each source to viper as text, from
// the weakest source to the strongest: viper decides which source wins, and value.Parse
// reads the text. Viper's own conversion would turn "abc" into 0 and write queue names in
// lower case, and viper cannot tell where a value came from.
type loading struct {
	config  *Config
	options []*option
	byKey   map[string]*option
	viper   *viper.Viper
	faults  Faults
	broken  map[string]bool // keys with a value that could not be read
}

// newLoading returns a loading in which every option has its default.
func newLoading() *loading {
	c := &Config{origins: map[string]string{}}
	l := &loading{config: c, options: c.options(), byKey: map[string]*option{}, viper: viper.New(), broken: map[string]bool{}}
	for _, o := range l.options {
		l.byKey[o.key] = o
		l.viper.SetDefault(o.key, o.value)
	}
	return l
}

// Load returns the configuration of a process. The value of an option comes from the
// first of these that sets it: its flag, its environment variable, the file. If none of
// them sets it, the value is the default. fs may be nil; Load uses only the flags of fs
// that AddFlags added and that were set. environ has the form of os.Environ. dir is the
// folder in which Load looks for outboxd.yaml, and to which a relative --config refers.
// serves returns the kinds of handlers that the worker of a process with this
// configuration has; nil: it has none.
//
// Its error is of type Faults. The error names all faults that could be found: values that
// could not be read are not compared with others. The error never quotes a secret.
func Load(fs *pflag.FlagSet, environ []string, dir string, serves func(*Config) Handlers) (*Config, error) {
	l := newLoading()
	variables := l.variables(environ)
	l.readFile(fs, variables, dir)
	l.readVariables(variables)
	l.readFlags(fs)
	l.decode()
	l.choose()
	if serves != nil {
		l.config.Serve(serves(l.config))
	}
	l.check()
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	l.config.resolve()
	return l.config, nil
}

// set gives an option a value from one source. The value replaces the values from weaker
// sources.
func (l *loading) set(o *option, text, origin string) {
	layer := map[string]any{o.name(): text}
	if section := o.section(); section != "" {
		layer = map[string]any{section: layer}
	}
	// MergeConfigMap has an error result, but never returns an error here.
	if err := l.viper.MergeConfigMap(layer); err != nil {
		l.faults = append(l.faults, o.fault(origin, "the value was not taken: "+err.Error()))
	}
	l.config.origins[o.key] = origin
}

// readFlags binds the flags that were set. A flag wins over every other source.
func (l *loading) readFlags(fs *pflag.FlagSet) {
	if fs == nil {
		return
	}
	for _, o := range l.options {
		if flag := fs.Lookup(o.flag()); flag != nil && flag.Changed {
			if err := l.viper.BindFlagValue(o.key, textFlag{flag}); err != nil {
				l.faults = append(l.faults, o.fault("", "the flag was not taken: "+err.Error()))
			}
			l.config.origins[o.key] = "flag --" + o.flag()
		}
	}
}

// textFlag gives viper the value of a flag as text, whatever the flag's type is.
type textFlag struct{ flag *pflag.Flag }

func (f textFlag) HasChanged() bool    { return f.flag.Changed }
func (f textFlag) Name() string        { return f.flag.Name }
func (f textFlag) ValueString() string { return f.flag.Value.String() }
func (f textFlag) ValueType() string   { return "string" }

// decode reads every value into its field.
func (l *loading) decode() {
	for _, o := range l.options {
		// A secret that was copied from a file often has a newline at its end.
		text := strings.TrimSpace(l.viper.GetString(o.key))
		if o.separator() == " " {
			text = strings.Join(strings.Fields(text), " ") // entries may stand on lines of their own
		}
		if err := o.decode(text); err != nil {
			l.broken[o.key] = true
			l.fault(o.key, err.Error())
		}
	}
}

func (o *option) decode(text string) error {
	switch {
	case !words.IsPlain(text):
		return words.ErrNotPlain
	case text == "" && !o.optional:
		problem := "the value is empty"
		if limits := o.limits(); limits != "" {
			problem += ": give " + limits
		}
		return errors.New(problem)
	case o.isSecret() && strings.Contains(text, address.Masked):
		return errors.New("the value is masked with " + address.Masked + ": give the real one")
	default:
		return value.Parse(o.field, text)
	}
}

// fault records a problem of the value of a key.
func (l *loading) fault(key, problem string) {
	l.faults = append(l.faults, l.byKey[key].fault(l.config.origins[key], problem))
}
