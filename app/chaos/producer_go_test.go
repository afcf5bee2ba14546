package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"outboxd/domain"
	"outboxd/repository"
)

// goWriter produces with repository's Emitter, in a transaction of its own GORM pool.
type goWriter struct{ db *gorm.DB }

func openGo(_ context.Context, url string) (writer, error) {
	db, err := gorm.Open(postgres.Open(url+"&search_path="+schema+"&connect_timeout=5&application_name=producer"),
		&gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true, SkipDefaultTransaction: true})
	if err != nil {
		return nil, fmt.Errorf("open the producer's database: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("open the producer's database: %w", err)
	}
	pool.SetMaxOpenConns(1)
	return goWriter{db}, nil
}

var errUndo = errors.New("this transaction is to be undone")

func (w goWriter) transact(ctx context.Context, producer string, events []entry, changes []change, undo bool) error {
	err := w.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		emitter := repository.NewEmitter(tx, schema)
		for _, key := range orderingKeysOf(events) {
			if err := emitter.LockKey(ctx, key); err != nil {
				return err
			}
		}
		for i := range events {
			e := domain.Event{Type: events[i].Type, Queue: events[i].queue(), Payload: events[i].payload(), OrderingKey: events[i].orderingKey()}
			if events[i].Delay > 0 {
				e.Available = time.Now().Add(events[i].Delay)
			}
			if err := emitter.Emit(ctx, &e); err != nil {
				return err
			}
			events[i].ID = e.ID
		}
		sql, args := ledgerEntry(producer, events)
		if _, err := tx.Statement.ConnPool.ExecContext(ctx, sql, args...); err != nil {
			return fmt.Errorf("write the ledger: %w", err)
		}
		for _, c := range changes {
			sql, args := c.statement()
			if _, err := tx.Statement.ConnPool.ExecContext(ctx, sql, args...); err != nil {
				return fmt.Errorf("%s: %w", c.what(), err)
			}
		}
		if undo {
			return errUndo
		}
		return nil
	})
	if errors.Is(err, errUndo) {
		return nil
	}
	return err
}

func (w goWriter) committed(ctx context.Context, producer string) (n int, err error) {
	err = w.db.WithContext(ctx).Raw(committedSQL, producer).Scan(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count what has committed: %w", err)
	}
	return n, nil
}
