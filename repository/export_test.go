package repository

import (
	"context"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// ClaimStatement is the statement that Claim sends, without and with history.
func ClaimStatement(history bool) string {
	if history {
		return claimWithHistorySQL
	}
	return claimSQL
}

// Begin begins a transaction as a producer's own.
func Begin(ctx context.Context, db *postgres.Database) *gorm.DB {
	return db.GORM().WithContext(ctx).Begin()
}

// FailStatement lets a statement fail in the transaction of a batch, unseen by the batch.
func FailStatement(ctx context.Context, claimed domain.Batch) {
	_, _ = claimed.(*batch).conn.Exec(ctx, "SELECT 1 / 0")
}

// WithPatience shortens the time after which a LISTEN that hears nothing is noticed.
func (p *Presence) WithPatience(check, patience time.Duration) *Presence {
	p.check, p.patience = check, patience
	return p
}

// Later makes the time at which stuck events are tried again come earlier.
func (o *Outbox) Later(by time.Duration) {
	o.passed.now = func() time.Time { return time.Now().Add(by) }
}
