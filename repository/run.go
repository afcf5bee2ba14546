package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/repository/postgres"
)

// single is the Effects of one event. It implements domain.Runs.
type single struct {
	effects
	id      domain.ID
	key     *string // its ordering key, if others wait for its turn; nil: none do
	follows bool    // it was kept back itself
}

var _ domain.Runs = (*single)(nil)

const handOverSQL = `SELECT outbox_hand_over($1, $2, $3)`

// HandOver implements domain.Runs. It costs no round trip.
func (s *single) HandOver(next *domain.HandOver) {
	if s.key == nil {
		return
	}
	next.Key = *s.key
	if s.follows {
		s.opening.QueueLastRow(readNext(next), endFollowerSQL, [16]byte(s.id), next.Type, next.Queue, true)
		s.follows = false
		return
	}
	s.opening.QueueLastRow(readNext(next), handOverSQL, [16]byte(s.id), next.Type, next.Queue)
}

func readNext(next *domain.HandOver) func(pgx.Row) error {
	return func(row pgx.Row) error {
		var id *[16]byte
		if err := row.Scan(&id); err != nil {
			return fmt.Errorf("look for the next event of an ordering key: %w", err)
		}
		if id != nil {
			next.Next = *id
		}
		return nil
	}
}

// The timeouts are set as for every other effect.
const followOnSQL = `SELECT payload, headers, concat(` + timeoutsSQL + `) FROM outbox_follow_on($2, $3, $4)`

const endFollowerSQL = `SELECT outbox_end_follower($1, $2, $3, $4)`

// FollowOn implements domain.Inbox.
func (i *Inbox) FollowOn(ctx context.Context, id domain.ID, next *domain.HandOver, effect func(context.Context, domain.Effects, domain.Follower) error) (first bool, err error) {
	const doing = "process the next event of an ordering key"
	for attempt := 1; ; attempt++ {
		begun := false
		first, err = i.followOn(ctx, id, next, func(ctx context.Context, tx domain.Effects, event domain.Follower) error {
			begun = true
			return effect(ctx, tx, event)
		})
		if err == nil || begun || !again(err, attempt) || ctx.Err() != nil {
			return first && err == nil, postgres.TranslateWork(err, doing)
		}
	}
}

func (i *Inbox) followOn(ctx context.Context, id domain.ID, next *domain.HandOver, effect func(context.Context, domain.Effects, domain.Follower) error) (first bool, err error) {
	event := domain.Follower{ID: id}
	kind, queue, key := next.Type, next.Queue, next.Key
	*next = domain.HandOver{Type: kind, Queue: queue, Key: key}
	opening := &postgres.Opening{
		SQL: followOnSQL, Args: []any{postgres.Milliseconds(patience(ctx)), [16]byte(id), kind, queue},
		Read: func(rows pgx.Rows) error {
			if !rows.Next() {
				return rows.Err()
			}
			first = true
			var headers []byte
			var none any
			if err := rows.Scan(&event.Payload, &headers, &none); err != nil {
				return fmt.Errorf("read the next event of an ordering key: %w", err)
			}
			return json.Unmarshal(headers, &event.Headers)
		},
	}
	_, err = i.db.TransactOpened(ctx, opening, func(tx *gorm.DB) error {
		if !first {
			return nil
		}
		crashpoint.Reach(crashpoint.WorkerBegan)
		own := &single{effects: effects{tx: tx, opening: opening}, id: id, key: &key, follows: true}
		if err := effect(ctx, own, event); err != nil {
			return err
		}
		if own.follows {
			own.last(endFollowerSQL, [16]byte(id), kind, queue, false)
		}
		crashpoint.Reach(crashpoint.WorkerEffected)
		return nil
	})
	crashpoint.Reach(crashpoint.WorkerCommitted)
	return first, err
}

// LetGo implements domain.Inbox.
func (i *Inbox) LetGo(ctx context.Context, orderingKey string) error {
	_, err := i.db.Pool().Exec(ctx, `SELECT outbox_advance(ARRAY[$1])`, orderingKey)
	if errors.Is(err, context.Canceled) {
		return err
	}
	return postgres.TranslateWork(err, "let the next event of an ordering key go")
}
