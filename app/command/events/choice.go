package events

import (
	"fmt"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
)

// choiceFlags choose events by what every event has, whatever its state.
type choiceFlags struct {
	filter                lives.Filter
	header, field         string
	notHeaders, notFields []string
}

func (f *choiceFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.filter.Type, "type", "", "only of this event type; email:* chooses all that begin with email:")
	cmd.Flags().StringVar(&f.filter.Queue, "queue", "", "only of this queue, or low* for all that begin with low")
	cmd.Flags().StringVar(&f.filter.OrderingKey, "key", "", "only of this ordering key")
	cmd.Flags().StringVar(&f.header, "header", "", "only with this header, name or name=value")
	cmd.Flags().StringVar(&f.field, "field", "", "only with this field in the JSON payload: name, name=value or order.customer=value; test-* as a value chooses all that begin with test-")
	cmd.Flags().StringVar(&f.filter.Error, "error", "", "only those whose error contains this text, in either case")
	cmd.Flags().StringArrayVar(&f.filter.NotErrors, "not-error", nil, "leave out those whose error contains this text, in either case; may be repeated")
	cmd.Flags().StringArrayVar(&f.filter.NotTypes, "not-type", nil, "leave out this event type, or email:* for all that begin with email:; may be repeated")
	cmd.Flags().StringArrayVar(&f.filter.NotKeys, "not-key", nil, "leave out this ordering key; may be repeated")
	cmd.Flags().StringArrayVar(&f.notHeaders, "not-header", nil, "leave out those with this header, written as --header; may be repeated")
	cmd.Flags().StringArrayVar(&f.notFields, "not-field", nil, "leave out those with this field in the JSON payload, written as --field; may be repeated")
}

// said returns the flags that the person has set, for the log of actions: flags of f,
// and the other named flags.
func (f *choiceFlags) said(cmd *cobra.Command, more ...string) map[string]string {
	return cli.Said(cmd, append(more, "type", "not-type", "queue", "key", "not-key", "header", "not-header", "field", "not-field", "error", "not-error")...)
}

// read completes the filter.
func (f *choiceFlags) read() (err error) {
	f.filter.NotErrors, f.filter.NotTypes, f.filter.NotKeys = domain.Named(f.filter.NotErrors), domain.Named(f.filter.NotTypes), domain.Named(f.filter.NotKeys)
	if f.filter.HeaderName, f.filter.HeaderValue, err = domain.ParseHeader(f.header); err != nil {
		return config.Mistake{Err: fmt.Errorf("--header: %w", err)}
	}
	if f.filter.NotHeaders, err = domain.ParseHeaders(f.notHeaders); err != nil {
		return config.Mistake{Err: fmt.Errorf("--not-header: %w", err)}
	}
	if f.filter.Payload, err = domain.ParsePayloadField(f.field); err != nil {
		return config.Mistake{Err: fmt.Errorf("--field: %w", err)}
	}
	if f.filter.NotFields, err = domain.ParsePayloadFields(f.notFields); err != nil {
		return config.Mistake{Err: fmt.Errorf("--not-field: %w", err)}
	}
	return nil
}
