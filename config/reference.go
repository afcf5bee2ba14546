package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

const referenceHead = `<!-- Generated from the code: go test ./config -update -->

# Configuration

You can set every option in three ways:

| way | example |
|---|---|
| flag | ` + "`--relay-concurrency=4`" + ` |
| environment variable | ` + "`OUTBOXD_RELAY_CONCURRENCY=4`" + ` |
| file | ` + "`relay: {concurrency: 4}`" + ` |

If an option is set in several ways, a flag wins over a variable, a variable wins over the file, and the file wins over the default.

The configuration file is YAML. ` + "`--config`" + ` or ` + "`OUTBOXD_CONFIG`" + ` names the file. If neither is set, outboxd reads ` + "`outboxd.yaml`" + `
in the working directory, if there is one. If the name is empty, outboxd reads no file. ` + "`outboxd.example.yaml`" + ` has every
key. A key without a value counts as absent.

An empty variable counts as not set. There is one exception: if an option is marked *may be empty* below, its empty variable
sets an empty value.

A list (such as ` + "`roles`, `api.trusted_proxies`, `worker.queues`" + `) has commas between its entries. In the file, a list may
also be a YAML list, and the queues may be a YAML map. The flag of a list may be repeated. A duration is a number with a
unit: ` + "`500ms`, `30s`, `10m`, `24h`" + `. A size is a number of bytes, or a number with ` + "`KiB` or `MiB`" + `.

outboxd does not start if the file, the variables or the flags have an unknown name or a wrong value. One message
names all faults. ` + "`outboxd config`" + ` prints the configuration that its command line, environment
and file give, with secrets masked and the origin of each value. It does not ask a running outboxd. Other users of the machine can see flags, so give secrets in variables or in the file.
`

const referenceRules = `
## Rules between options

- ` + "`monitor.addr`" + ` must be a loopback address or empty, unless ` + "`admin_token`, `access.tokens`, `access.identity_header` or `oidc.issuer`" + ` is set, or ` + "`probe.addr`" + ` is set and the process does not have the role monitor.
- ` + "`relay.inbox_retention`" + ` must not be shorter than ` + "`relay.history`" + `, nor ` + "`relay.backoff_base`" + ` longer than ` + "`relay.backoff_max`" + `.
- ` + "`relay.poll_min`" + ` must not be longer than ` + "`relay.poll_interval`" + `, nor than ` + "`relay.poll_without_listen`" + `.
- ` + "`access.identity_header`" + ` needs ` + "`api.trusted_proxies`" + `, and ` + "`oidc.issuer`" + ` needs ` + "`oidc.client_id` and `oidc.roles`" + `.
- ` + "`relay.listen_url`, `database.read_url` and `database.password_file`" + ` need ` + "`database.url`" + `.
- ` + "`redis.password_file`" + ` needs ` + "`redis.url`" + `. ` + "`redis.tls_ca`, `redis.tls_cert` and `redis.tls_server_name`" + ` need a ` + "`redis.url`" + ` that begins with ` + "`rediss`" + `, and ` + "`redis.tls_key` needs `redis.tls_cert`" + `.
- ` + "`redis.sentinel_username` needs `redis.sentinel_password` or `redis.sentinel_password_file`" + `.
- ` + "`databases`" + ` excludes ` + "`database.url`, `database.password_file`, `database.read_url` and `relay.listen_url`" + `. A process that serves all of them has only the roles relay and monitor, or one of the two; ` + "`source`" + ` chooses one of them for every role.
- ` + "`database.max_conns`" + `, unless 0, must be at least 4, plus ` + "`relay.concurrency`" + ` with the role relay, plus 8 with the role api, plus 12 with the role worker. If a handler has a transaction for each event and ` + "`worker.concurrency`" + ` is not 0, it is 10 and ` + "`worker.concurrency`" + ` instead of 12.
- A worker runs the example if it also has the role api, or with ` + "`example=on`" + `. Such a worker needs ` + "`notify`" + ` if ` + "`database.url`" + ` is set.
- If a worker runs the example, ` + "`notify=smtp`" + ` needs ` + "`smtp.addr` and `smtp.from`" + `, and ` + "`notify=webhook`" + ` needs ` + "`webhook.url` and `webhook.secret`" + `.
- If a worker runs the example with ` + "`notify=smtp`" + `, ` + "`smtp.username` and `smtp.password`" + ` must be set together, and with ` + "`smtp.tls=none`" + ` only for a server on the same machine.
`

const referenceTraces = `
## Traces

OpenTelemetry's own variables set up traces. These variables are not options of outboxd, so
only the environment can set them. If none of these variables is set, outboxd makes no traces, and traces cost nothing. [Traces](../guides/traces.md) says what is recorded.

| variable | meaning |
|---|---|
| ` + "`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`" + ` | where the collector is, such as ` + "`http://localhost:4318`" + `. Either of them switches traces on |
| ` + "`OTEL_TRACES_EXPORTER`" + ` | ` + "`otlp`" + ` switches traces on too, to the collector on this machine; ` + "`none`" + ` switches them off |
| ` + "`OTEL_EXPORTER_OTLP_PROTOCOL`, `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`" + ` | ` + "`http/protobuf`" + `, the default, or ` + "`grpc`" + ` |
| ` + "`OTEL_EXPORTER_OTLP_HEADERS`, `…_CERTIFICATE`, `…_CLIENT_KEY`, `…_COMPRESSION`, `…_TIMEOUT`" + ` | how to connect to the collector |
| ` + "`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`" + ` | which traces are recorded: ` + "`parentbased_always_on`" + ` is the default; ` + "`parentbased_traceidratio`" + ` with ` + "`0.01`" + ` takes one in a hundred |
| ` + "`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`" + ` | the name of the process in traces; the default is ` + "`outboxd`" + ` |
| ` + "`OTEL_BSP_SCHEDULE_DELAY`, `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`" + ` | how spans wait until they are exported; spans that do not fit into the queue are dropped |
| ` + "`OTEL_SDK_DISABLED`" + ` | ` + "`true`" + ` switches all traces off |
`

// WriteReference writes docs/reference/configuration.md: it explains how options are set,
// and describes each option, section by section.
func WriteReference(w io.Writer) error {
	var text bytes.Buffer
	text.WriteString(referenceHead)
	section := "-"
	for _, o := range new(Config).options() {
		if o.section() != section {
			section = o.section()
			title := "Section " + section
			if section == "" {
				title = "Outside all sections"
			}
			fmt.Fprintf(&text, "\n## %s\n\n| key | flag | variable | type | default | meaning |\n|---|---|---|---|---|---|\n", title)
		}
		fmt.Fprintf(&text, "| `%s` | `--%s` | `%s` | %s | %s | %s |\n", o.key, o.flag(), o.variable(), o.typeText(), o.defaultText(), o.meaning())
	}
	text.WriteString(referenceRules)
	text.WriteString(referenceTraces)
	_, err := text.WriteTo(w)
	return err
}

func (o *option) typeText() string {
	text := o.kind()
	if limits := o.limits(); limits != "" {
		text += ": " + limits
	}
	if o.optional {
		text += "; may be empty"
	}
	return text
}

func (o *option) defaultText() string {
	if o.value == "" {
		return "empty"
	}
	return "`" + o.value + "`"
}

func (o *option) meaning() string {
	sentences := []string{o.help}
	for _, alias := range o.aliases {
		sentences = append(sentences, fmt.Sprintf("The variable `%s` is honoured too; `%s` wins over it.", alias, o.variable()))
	}
	// A bar would end the table's cell.
	return strings.ReplaceAll(strings.Join(sentences, " "), "|", `\|`)
}
