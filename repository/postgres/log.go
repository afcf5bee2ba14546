package postgres

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gorm.io/gorm"
	gormlogger "gorm.io/gorm/logger"
)

// A statement of GORM that takes slowStatement or longer is logged as a warning.
const slowStatement = time.Second

// newGormLogger returns a logger that writes GORM's log to logger. The logger writes the
// errors of statements at debug level, because callers also get them as return values. The
// values of a statement are never logged, because they may be password hashes and
// addresses.
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

// ParamsFilter removes the values of a statement before GORM logs it.
func (l *gormLog) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}
