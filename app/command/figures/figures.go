// Package figures has the commands that show figures of event types, queues, workers and
// ordering keys, and the commands that pause and resume queues.
package figures

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
	"outboxd/app/command/terminal"
	"outboxd/app/daemon"
	"outboxd/app/logging"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/domain/words"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/jobs/retries"
	"outboxd/migrations"
	"outboxd/repository/postgres"
	"outboxd/repository/reading"
	"outboxd/repository/search"
)

// opened has Redis for a command, and what the command needs to open PostgreSQL.
type opened struct {
	cfg     *config.Config
	servers *servers.Servers
	redis   *broker.Redis
	log     *slog.Logger
}

// withRedis opens Redis for a command.
func withRedis(c cli.Commands, out *terminal.Output, do func(*cobra.Command, []string, *opened) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		if err := out.Check(); err != nil {
			return err
		}
		cfg, err := c.LoadToLook(cmd, config.RoleRelay)
		if err != nil {
			return err
		}
		log := logging.New(cmd.ErrOrStderr(), cfg.Log)
		s, err := c.StartServers(cmd.Context(), cfg, log)
		if err != nil {
			return err
		}
		defer func() {
			if stopped := s.Close(cmd.Context()); err == nil {
				err = stopped
			}
		}()
		broker.BridgeLog(log)
		redis, err := s.OpenRedis(cli.RedisConnections)
		if err != nil {
			return err
		}
		defer redis.Close()
		return do(cmd, args, &opened{cfg, s, redis, log})
	}
}

// database opens PostgreSQL. Errors: domain.CodeUnavailable if it cannot be reached; others
// for a wrong configuration, password or schema.
func (o *opened) database(ctx context.Context) (*postgres.Database, error) {
	db, err := servers.OpenDatabase(ctx, o.cfg, o.servers.DatabaseURL, cli.DatabaseConnections, nil, o.log)
	if err != nil {
		return nil, err
	}
	if err := migrations.Core().Check(ctx, db.SQL()); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// sight has PostgreSQL and Redis for a command that also works if one of them does not
// answer: the command then shows what the other server knows.
type sight struct {
	figures.Source
	*opened
	db    *postgres.Database // nil if StoreErr is set
	reads *reading.Reads     // nil if StoreErr is set
}

// withSight opens both servers for a command. If PostgreSQL cannot be reached, the command
// runs without it. A wrong configuration, password or schema is an error.
func withSight(c cli.Commands, out *terminal.Output, do func(*cobra.Command, []string, *sight) error) func(*cobra.Command, []string) error {
	return withRedis(c, out, func(cmd *cobra.Command, args []string, o *opened) error {
		seen := &sight{opened: o}
		if err := seen.open(cmd.Context()); err != nil {
			return err
		}
		if seen.db != nil {
			defer seen.db.Close()
			defer seen.reads.Close()
			defer cli.SayStandby(cmd, seen.reads)
		}
		return do(cmd, args, seen)
	})
}

func (s *sight) open(ctx context.Context) error {
	inspector := inspect.NewInspector(s.redis, s.servers.Forgetful(), time.Now)
	inspector.Handles(daemon.HandledTypes())
	s.Source = figures.Source{
		Queues: inspect.NewOverviews(s.redis), Failing: retries.New(s.redis), Foreign: inspector.Foreign,
		Handled: daemon.HandledTypes(), OneOfSeveral: s.cfg.OneOfSeveral(),
	}
	db, err := s.database(ctx)
	switch {
	case err == nil:
		s.db, s.reads = db, servers.NewReads(s.cfg, db, s.log)
		s.Store = reading.NewFigures(s.reads)
		inspector.OnlyOurs(search.NewKnownEvents(db, s.cfg.Relay.History).Among)
		_, _ = inspector.Facts(ctx) // finds the queues of others; if Redis does not answer, the figures say so
	case domain.ErrorCode(err) == domain.CodeUnavailable:
		s.StoreErr = err
	default:
		return err
	}
	return nil
}

// listDocument says, in JSON, how complete a list of figures is.
type listDocument struct {
	// Complete is false if more events wait, or are dead, than were counted: 50,000 of
	// each state.
	Complete bool `json:"complete"`
	missingDocument
}

// writeEnd writes the lines below a table.
func (d *listDocument) writeEnd(w io.Writer) {
	if !d.Complete {
		fmt.Fprintf(w, "There are more than were counted: at most %s events of each state are counted.\n", words.Count(figures.Counted))
	}
	d.writeMissing(w)
}

// cutDocument says, in JSON, which numbers are lower bounds.
type cutDocument struct {
	AtLeast []string `json:"at_least,omitempty"` // pending, held, dead or emitted_today: the fields of which more is there than was counted
}

func newCutDocument(cut figures.Cut) (d cutDocument) {
	for _, field := range []struct {
		name string
		cut  bool
	}{{"pending", cut.Pending}, {"held", cut.Held}, {"dead", cut.Dead}, {"emitted_today", cut.Emitted}} {
		if field.cut {
			d.AtLeast = append(d.AtLeast, field.name)
		}
	}
	return d
}

// cell returns the cell for the number of a field.
func (d *cutDocument) cell(field string, n *int64) string {
	if n != nil && slices.Contains(d.AtLeast, field) {
		return cli.Counted(n) + " or more"
	}
	return cli.Counted(n)
}

// missingDocument says, in JSON, which server did not answer; the figures of that server
// are null.
type missingDocument struct {
	PostgresError string `json:"postgres_error,omitempty"`
	RedisError    string `json:"redis_error,omitempty"`
}

func newMissingDocument(s figures.Seen) (d missingDocument) {
	if s.StoreErr != nil {
		d.PostgresError = s.StoreErr.Error()
	}
	if s.QueuesErr != nil {
		d.RedisError = s.QueuesErr.Error()
	}
	return d
}

func (d missingDocument) writeMissing(w io.Writer) {
	for _, server := range []struct{ name, fault string }{{"PostgreSQL", d.PostgresError}, {"Redis", d.RedisError}} {
		if server.fault != "" {
			fmt.Fprintf(w, "What only %s knows is not shown: %s\n", server.name, terminal.OneLine(server.fault, 0))
		}
	}
}

// incomplete returns an error if a server did not answer, so that a command that showed what the other
// server knows does not count as successful.
func (d missingDocument) incomplete() error {
	for _, server := range []struct{ name, fault string }{{"PostgreSQL", d.PostgresError}, {"Redis", d.RedisError}} {
		if server.fault != "" {
			return fmt.Errorf("not everything is shown: %s does not answer: %s", server.name, server.fault)
		}
	}
	return nil
}

// lineOf returns the line of a name, or an error if nothing is known of the name at present. The parameter what
// is "queue" or "event type", for the error.
func lineOf[L figures.Line](view *figures.View[L], what, name string) (*L, error) {
	line := view.Named(name)
	if line != nil {
		return line, nil
	}
	missing := newMissingDocument(view.Seen)
	faults := slices.DeleteFunc([]string{missing.PostgresError, missing.RedisError}, func(fault string) bool { return fault == "" })
	if len(faults) > 0 {
		return nil, fmt.Errorf("nothing is known of %s %.100q, and a server does not answer: %s", what, name, strings.Join(faults, "; "))
	}
	return nil, fmt.Errorf("nothing is known of %s %.100q: nothing of it waits, and nothing happened within the last hour", what, name)
}

// passedDocument says, in JSON, what happened to the events of a type or queue: how many
// were confirmed, failed or died, and how long they took. What is not known is null.
type passedDocument struct {
	measuredDocument
	Rate     *float64 `json:"confirmed_per_second"` // in the last five minutes
	HourRate *float64 `json:"confirmed_per_second_of_hour"`
	Failed   *int64   `json:"failed_attempts_of_hour"` // in outboxd's own worker; null also if other programs' workers try some of the events
	Died     *int64   `json:"died_of_hour"`            // also since measured_until
	P50      *float64 `json:"delay_p50_seconds"`       // from emitted to handler, of the last hour
	P99      *float64 `json:"delay_p99_seconds"`
}

// measuredDocument says, in JSON, over which time figures were measured.
type measuredDocument struct {
	Until  *time.Time `json:"measured_until"`     // null: nothing was measured within the last hour
	Recent float64    `json:"measured_of_recent"` // seconds of the last five minutes that confirmed_per_second is of
	Hour   float64    `json:"measured_of_hour"`   // seconds of the last hour that the figures of the hour are of
}

func newPassedDocument(sum *figures.Sum, seen *figures.Seen) (d passedDocument) {
	m := seen.Measurement
	d.measuredDocument = measuredDocument{timeOrNull(m.MeasuredUntil), m.RecentMeasured.Seconds(), m.HourMeasured.Seconds()}
	if !seen.StoreKnown() || !sum.Measured() {
		return d
	}
	d.Failed, d.Died = knownNumber(sum.Hour.Failed, sum.FailedKnown()), &sum.Hour.Died
	d.Rate, d.HourRate = notNegative(sum.Confirmed.Recent), notNegative(sum.Confirmed.Hour)
	d.P50, d.P99 = notNegative(sum.Hour.P50.Seconds()), notNegative(sum.Hour.P99.Seconds())
	return d
}

func notNegative(value float64) *float64 {
	if value < 0 {
		return nil
	}
	return &value
}

// unseen reports whether only the number of failed attempts is not known, because other programs' workers make some
// of the attempts.
func (d *passedDocument) unseen() bool { return d.Died != nil && d.Failed == nil }

// writeUnseen explains the ? below FAILED, if there is one.
func writeUnseen(w io.Writer, unseen bool) {
	if unseen {
		fmt.Fprintln(w, "FAILED ?: attempts of workers of your own, which outboxd does not see.")
	}
}

// passedColumns are the headings of passedDocument.cells: RATE 5m, FAILED 1h, DIED 1h, P50 1h and P99 1h, or with shorter
// times if less was measured.
func passedColumns(m figures.Measurement) string {
	recent, hour := words.Short(m.RecentSpan()), words.Short(m.HourSpan())
	return "RATE " + recent + "\tFAILED " + hour + "\tDIED " + hour + "\tP50 " + hour + "\tP99 " + hour
}

// writeMeasured says below a table up to which time its figures were measured.
func writeMeasured(w io.Writer, seen *figures.Seen) {
	switch {
	case !seen.StoreKnown():
	case seen.MeasuredUntil.IsZero():
		fmt.Fprintln(w, "RATE, FAILED, DIED, P50 and P99 are not known: no relay measured them within the last hour.")
	default:
		fmt.Fprintf(w, "RATE, FAILED, P50 and P99 are as of %s UTC, the other figures as of now.\n", terminal.Instant(seen.MeasuredUntil))
	}
}

// cells returns the cells of passedColumns.
func (d *passedDocument) cells() string {
	rate, seconds := func(r *float64) string {
		if r == nil {
			return cli.Unknown
		}
		return words.Rate(*r)
	}, func(s *float64) string {
		switch {
		case d.Died == nil:
			return cli.Unknown
		case s == nil: // nothing was confirmed
			return "-"
		}
		return words.Duration(time.Duration(*s * float64(time.Second)))
	}
	return rate(d.Rate) + "\t" + cli.Counted(d.Failed) + "\t" + cli.Counted(d.Died) + "\t" + seconds(d.P50) + "\t" + seconds(d.P99)
}

// knownNumber returns nil, which is null in JSON, for a number that is not known.
func knownNumber(n int64, known bool) *int64 {
	if !known {
		return nil
	}
	return &n
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

// ageCell says how long ago something was, if that is known.
func ageCell(now time.Time, at *time.Time, known bool) string {
	switch {
	case at == nil && !known:
		return cli.Unknown
	case at == nil:
		return "-"
	}
	return words.Rough(max(now.Sub(*at), 0))
}

// pointDocument has, in JSON, the measurements of one step of time.
type pointDocument struct {
	At        time.Time `json:"at"` // when the step begins
	Seconds   float64   `json:"seconds"`
	Confirmed int64     `json:"confirmed"`
	Estimated bool      `json:"confirmed_estimated"` // more than 20,000 events of all types were confirmed within a minute, and the leader looked at a random part
	Failed    *int64    `json:"failed_attempts"`     // as failed_attempts_of_hour
	Died      int64     `json:"died"`
	P50       *float64  `json:"delay_p50_seconds"`
	P99       *float64  `json:"delay_p99_seconds"`
	Queued    *int64    `json:"queued,omitempty"` // the most tasks that waited in Redis; for a queue only
}

// historyOf reads the measurements of the last hour, in steps of five minutes. The parameter unseen says that
// outboxd does not see all failed attempts, so their number is not known.
func (s *sight) historyOf(ctx context.Context, eventType, queue string, unseen bool) ([]pointDocument, error) {
	documents := []pointDocument{}
	if s.Store == nil {
		return documents, nil
	}
	const step = 5 * time.Minute
	points, err := s.Store.History(ctx, eventType, queue, figures.Long, step)
	for _, p := range points {
		d := pointDocument{
			At: p.At.UTC(), Seconds: p.Seconds, Confirmed: p.Confirmed, Estimated: p.Estimated, Failed: knownNumber(p.Failed, !unseen), Died: p.Died,
			P50: notNegative(p.P50.Seconds()), P99: notNegative(p.P99.Seconds()),
		}
		if p.Queued >= 0 {
			d.Queued = &p.Queued
		}
		documents = append(documents, d)
	}
	return documents, err
}

// writeHistory writes the history of an event type or a queue, and the commands that list its events and dead
// letters. The parameter flag is their flag for the name: "type" or "queue".
func writeHistory(w io.Writer, history []pointDocument, flag, name string) {
	historyTable(w, history, flag == "queue")
	fmt.Fprintf(w, "\nIts events: outboxd events list --%[1]s %[2]s; its dead letters: outboxd dead list --%[1]s %[2]s\n", flag, terminal.ShellWord(name))
}

// estimate writes an estimated number, and "few" for 0: if the part of the events that was looked at has none of this
// queue or type, the other part may still have some.
func estimate(n int64) string {
	if n == 0 {
		return "few"
	}
	return "~" + words.Count(n)
}

func historyTable(w io.Writer, history []pointDocument, queue bool) {
	if len(history) == 0 {
		return
	}
	waited := ""
	if queue {
		waited = "\tWAITED IN REDIS"
	}
	fmt.Fprintln(w, "\nFROM (UTC)\tCONFIRMED\tFAILED\tDIED\tP50\tP99"+waited)
	for _, p := range history {
		if queue {
			waited = "\t" + cli.Counted(p.Queued)
		}
		delay := func(s *float64) string {
			if s == nil {
				return "-"
			}
			return words.Duration(time.Duration(*s * float64(time.Second)))
		}
		confirmed := words.Count(p.Confirmed)
		if p.Estimated {
			confirmed = estimate(p.Confirmed)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s%s\n", terminal.Instant(p.At), confirmed, cli.Counted(p.Failed), words.Count(p.Died), delay(p.P50), delay(p.P99), waited)
	}
	if slices.ContainsFunc(history, func(p pointDocument) bool { return p.Estimated }) {
		fmt.Fprintln(w, "CONFIRMED ~ or few: an estimate. More than 20,000 events of all types were confirmed within a minute, and a random part was looked at.")
	}
}
