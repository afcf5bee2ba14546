package work

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// asynqLog writes Asynq's log to the worker's log. During an outage each of Asynq's loops complains
// repeatedly. So of the warnings and errors only the first five, and then one every 30 s, keep
// their level. The others are logged as debug.
type asynqLog struct {
	log       *slog.Logger
	sometimes *rate.Sometimes
}

func newAsynqLog(log *slog.Logger) *asynqLog {
	return &asynqLog{log: log.With("component", "asynq"), sometimes: &rate.Sometimes{First: 5, Interval: 30 * time.Second}}
}

// Debug and Info log at level debug, because Asynq's Info lines are only about signals, starting
// and stopping.
func (l *asynqLog) Debug(args ...any) { l.log.Debug(line(args)) }
func (l *asynqLog) Info(args ...any)  { l.log.Debug(line(args)) }

// Warn and Error log at level debug if too many lines come. Fatal always logs at level
// error.
func (l *asynqLog) Warn(args ...any)  { l.complain(slog.LevelWarn, args) }
func (l *asynqLog) Error(args ...any) { l.complain(slog.LevelError, args) }
func (l *asynqLog) Fatal(args ...any) { l.log.Error(line(args)) }

func (l *asynqLog) complain(level slog.Level, args []any) {
	quiet := true
	l.sometimes.Do(func() { quiet = false })
	if quiet {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, line(args))
}

func line(args []any) string { return strings.TrimSpace(fmt.Sprint(args...)) }
