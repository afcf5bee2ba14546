package config

import (
	"regexp"
	"slices"
	"strings"

	"outboxd/config/address"
)

const envPrefix = "OUTBOXD_"

// isServiceVariable reports whether Kubernetes has probably set the variable. If a namespace has a
// service whose name begins with outboxd, Kubernetes usually sets variables such as
// OUTBOXD_SERVICE_HOST in the pods of that namespace.
func isServiceVariable(name, value string) bool {
	if !strings.HasSuffix(name, "_SERVICE_PORT") && strings.HasSuffix(name, "_PORT") && !strings.Contains(value, "://") {
		return false // a person may have written it, such as OUTBOXD_API_PORT=80
	}
	return serviceVariable.MatchString(name)
}

var serviceVariable = regexp.MustCompile(`^OUTBOXD_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$`)

// variables returns the environment variables that set an option. variables records a
// fault for each variable that begins like one of outboxd's but is unknown, unless
// Kubernetes has probably set it. It also records a fault for each variable of libpq that
// names an unusable file.
func (l *loading) variables(environ []string) map[string]string {
	known := map[string]bool{configOption().variable(): true}
	for _, o := range l.options {
		known[o.variable()] = true
		for _, alias := range o.aliases {
			known[alias] = true
		}
	}
	found := map[string]string{}
	var unknown []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case known[name]:
			found[name] = value
		case strings.HasPrefix(name, envPrefix) && !isServiceVariable(name, value):
			unknown = append(unknown, name)
		case slices.Contains(address.FileVariables, name):
			if err := address.CheckFile(value); err != nil {
				l.faults = append(l.faults, Fault{Variable: name, Problem: err.Error(), Origin: "the environment"})
			}
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		l.faults = append(l.faults, Fault{
			Variable: plainName(name),
			Problem:  "there is no such variable: unset it or correct its name" + l.suggestion(variableKey(name)),
			Origin:   "the environment",
		})
	}
	return found
}

// variableKey writes the name of a variable in the form of a key, so that the two can be
// compared.
func variableKey(name string) string {
	return strings.ToLower(strings.TrimPrefix(name, envPrefix))
}

// readVariables sets options from environment variables. A variable wins over the file. An
// empty variable counts as not set, unless the option may be empty. An empty alias always
// counts as not set.
func (l *loading) readVariables(variables map[string]string) {
	for _, o := range l.options {
		for _, alias := range o.aliases {
			if text := variables[alias]; strings.TrimSpace(text) != "" {
				l.set(o, text, "environment "+alias)
			}
		}
		if text, found := variables[o.variable()]; found && (o.optional || strings.TrimSpace(text) != "") {
			l.set(o, text, "environment "+o.variable())
		}
	}
}
