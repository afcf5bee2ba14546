package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"

	"github.com/go-playground/validator/v10"

	"outboxd/config/address"
	"outboxd/config/value"
	"outboxd/config/words"
)

const minToken = 16 // bytes

// check records a fault for each wrong value among those that could be read, and for each broken
// rule whose values are right.
func (l *loading) check() {
	validate := validator.New(validator.WithRequiredStructEnabled())
	for _, o := range l.options {
		if err := o.checkValue(validate); err != nil && !l.broken[o.key] {
			l.broken[o.key] = true
			l.fault(o.key, err.Error())
		}
	}
	for _, rule := range l.rules() {
		if l.intact(rule.keys) {
			if problem := rule.problem(); problem != "" {
				l.fault(rule.keys[0], problem)
			}
		}
	}
}

// checkValue checks one value alone. The rules compare several values with each other.
func (o *option) checkValue(validate *validator.Validate) error {
	field := reflect.ValueOf(o.field).Elem()
	if o.optional && field.IsZero() {
		return nil
	}
	if rule := o.rule(); rule != "" && validate.Var(field.Interface(), rule) != nil {
		return fmt.Errorf("%s is not allowed: give %s", words.Quote(value.Format(o.field)), o.limits())
	}
	if o.check != nil {
		return o.check(field.String())
	}
	return nil
}

// intact reports whether the values of all given keys could be read and are right.
// Only then can a rule compare them.
func (l *loading) intact(keys []string) bool {
	for _, key := range keys {
		if l.broken[key] {
			return false
		}
	}
	return true
}

// plainIdentifier allows 50 of PostgreSQL's 63 bytes, so that a suffix still fits after
// the schema's name.
var plainIdentifier = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,49}$`)

func checkSchema(text string) error {
	if !plainIdentifier.MatchString(text) || strings.HasPrefix(text, "pg_") || text == "information_schema" {
		return fmt.Errorf("%s must be up to 50 lower-case letters, digits and _, not begin with a digit or pg_, and not be information_schema", words.Quote(text))
	}
	return nil
}

func checkTraceURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !strings.Contains(text, "{trace_id}") {
		return fmt.Errorf("%s must begin with http:// or https:// and contain {trace_id}", words.Quote(address.Mask(text)))
	}
	return nil
}

// headerName is a token of RFC 9110, of up to 100 characters.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

func checkHeaderName(text string) error {
	if !headerName.MatchString(text) {
		return fmt.Errorf("%s is no name of a header", words.Quote(text))
	}
	return nil
}

// checkIssuer refuses an OpenID provider without TLS, unless the provider is on this
// machine: whoever can change the provider's answers decides who signs in.
func checkIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !address.IsLoopback(u.Host)) {
		return fmt.Errorf("%s must begin with https://, or with http:// on this machine, and have no query", words.Quote(text))
	}
	return nil
}

func checkRedirectURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, "/callback") {
		return fmt.Errorf("%s must begin with http:// or https:// and end with /callback", words.Quote(text))
	}
	return nil
}

func checkToken(text string) error {
	if len(text) < minToken {
		return fmt.Errorf("the token has %d bytes: give at least %d, such as the output of: openssl rand -hex 32", len(text), minToken)
	}
	return nil
}

func checkWebhookSecret(text string) error {
	problem := errors.New("the signing key must be whsec_ and then 24 to 64 bytes in base64, such as whsec_$(openssl rand -base64 32)")
	encoded, found := strings.CutPrefix(text, "whsec_")
	if !found {
		return problem
	}
	if key, err := base64.StdEncoding.DecodeString(encoded); err != nil || len(key) < 24 || len(key) > 64 {
		return problem
	}
	return nil
}
