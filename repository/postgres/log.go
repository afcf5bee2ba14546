package postgres

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gorm.io/gorm"
	gormlogger "gorm.io/gorm/logger"
)

// slowStatement is how long a statement may take before it is logged as a
// warning.
const slowStatement = time.Second

// newGormLogger writes GORM's log to ours. Errors are logged at debug level,
// since callers get them as return values. Values never appear: they may be
// password hashes and addresses.
func newGormLogger(logger *slog.Logger) gormlogger.Interface {
	return &gormLog{logger: logger.With("component", "gorm")}
}

type gormLog struct{ logger *slog.Logger }

func (l *gormLog) LogMode(gormlogger.LogLevel) gormlogger.Interface { return l }

func (l *gormLog) Info(ctx context.Context, message string, args ...any) {
	l.logger.DebugContext(ctx, message, "args", args)
}

func (l *gormLog) Warn(ctx context.Context, message string, args ...any) {
	l.logger.WarnContext(ctx, message, "args", args)
}

func (l *gormLog) Error(ctx context.Context, message string, args ...any) {
	l.logger.ErrorContext(ctx, message, "args", args)
}

func (l *gormLog) Trace(ctx context.Context, begin time.Time, statement func() (string, int64), err error) {
	took := time.Since(begin)
	switch {
	case took >= slowStatement:
		sql, rows := statement()
		l.logger.WarnContext(ctx, "slow statement", "sql", sql, "rows", rows, "took", took)
	case l.logger.Enabled(ctx, slog.LevelDebug):
		sql, rows := statement()
		if errors.Is(err, gorm.ErrRecordNotFound) {
			err = nil
		}
		l.logger.DebugContext(ctx, "statement", "sql", sql, "rows", rows, "took", took, "error", err)
	}
}

// ParamsFilter drops the values of a statement before it reaches the log.
func (l *gormLog) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}
