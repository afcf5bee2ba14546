package reading

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/domain/lives"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/repository/deadletters"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
	"outboxd/repository/subscriptions"
)

// The type two is an answer with two values.
type two[A, B any] struct {
	a A
	b B
}

// Lives implements lives.Reader.
type Lives struct {
	reads    *Reads
	patience time.Duration
}

// NewLives returns the lives of events, as search.NewLives does.
func NewLives(reads *Reads) Lives { return Lives{reads, lives.CommandPatience} }

// Within does what search.Lives.Within does.
func (l Lives) Within(patience time.Duration) Lives { return Lives{l.reads, patience} }

var _ lives.Reader = Lives{}

// Search implements lives.Reader.
func (l Lives) Search(ctx context.Context, filter lives.Filter, before domain.ID, limit int) (lives.Page, error) {
	return ask(ctx, l.reads, func(db *postgres.Database) (lives.Page, error) {
		return search.NewLives(db).Within(l.patience).Search(ctx, filter, before, limit)
	})
}

// Count implements lives.Reader.
func (l Lives) Count(ctx context.Context, filter lives.Filter, limit int, patience time.Duration) (lives.Counted, error) {
	return ask(ctx, l.reads, func(db *postgres.Database) (lives.Counted, error) {
		return search.NewLives(db).Count(ctx, filter, limit, patience)
	})
}

// Find implements lives.Reader.
func (l Lives) Find(ctx context.Context, id domain.ID) (*lives.Life, error) {
	return ask(ctx, l.reads, func(db *postgres.Database) (*lives.Life, error) { return search.NewLives(db).Find(ctx, id) })
}

// InFlight implements lives.Reader.
func (l Lives) InFlight(ctx context.Context, filter lives.Filter, ids []domain.ID) ([]lives.Summary, error) {
	return ask(ctx, l.reads, func(db *postgres.Database) ([]lives.Summary, error) {
		return search.NewLives(db).InFlight(ctx, filter, ids)
	})
}

// Keys reads the ordering keys that hold events back.
type Keys struct{ reads *Reads }

// NewKeys returns the held keys.
func NewKeys(reads *Reads) Keys { return Keys{reads} }

// List does what search.HeldKeys.List does.
func (k Keys) List(ctx context.Context, named []string, limit int) ([]lives.HeldKey, bool, error) {
	found, err := ask(ctx, k.reads, func(db *postgres.Database) (t two[[]lives.HeldKey, bool], err error) {
		t.a, t.b, err = search.NewHeldKeys(db).List(ctx, named, limit)
		return t, err
	})
	return found.a, found.b, err
}

// Figures implements figures.Store.
type Figures struct{ reads *Reads }

// NewFigures returns the figures of types and queues.
func NewFigures(reads *Reads) Figures { return Figures{reads} }

var _ figures.Store = Figures{}

// Snapshot implements figures.Store.
func (f Figures) Snapshot(ctx context.Context) (figures.Snapshot, error) {
	return ask(ctx, f.reads, func(db *postgres.Database) (figures.Snapshot, error) { return search.NewFigures(db).Snapshot(ctx) })
}

// History implements figures.Store.
func (f Figures) History(ctx context.Context, eventType, queue string, window, step time.Duration) ([]figures.Point, error) {
	return ask(ctx, f.reads, func(db *postgres.Database) ([]figures.Point, error) {
		return search.NewFigures(db).History(ctx, eventType, queue, window, step)
	})
}

// Pauses implements figures.Store. Pauses asks the primary, because a standby that lags
// behind knows a pause that was ended meanwhile.
func (f Figures) Pauses(ctx context.Context) (map[string]setup.Pause, error) {
	return search.NewFigures(f.reads.primary).Pauses(ctx)
}

// Overviews implements overview.Overviews.
type Overviews struct{ reads *Reads }

// NewOverviews returns the overviews.
func NewOverviews(reads *Reads) Overviews { return Overviews{reads} }

var _ overview.Overviews = Overviews{}

// Standing implements overview.Overviews. Standing asks the primary, because findings
// follow from the answer.
func (o Overviews) Standing(ctx context.Context) (overview.Standing, error) {
	return search.NewOverviews(o.reads.primary).Standing(ctx)
}

// History implements overview.Overviews.
func (o Overviews) History(ctx context.Context, window, step time.Duration) ([]overview.HistoryPoint, error) {
	return ask(ctx, o.reads, func(db *postgres.Database) ([]overview.HistoryPoint, error) {
		return search.NewOverviews(db).History(ctx, window, step)
	})
}

// HistoryBetween implements overview.Overviews.
func (o Overviews) HistoryBetween(ctx context.Context, from, until time.Time, step time.Duration) ([]overview.HistoryPoint, error) {
	return ask(ctx, o.reads, func(db *postgres.Database) ([]overview.HistoryPoint, error) {
		return search.NewOverviews(db).HistoryBetween(ctx, from, until, step)
	})
}

// Marks implements overview.Overviews.
func (o Overviews) Marks(ctx context.Context, window time.Duration) ([]overview.HistoryMark, error) {
	return ask(ctx, o.reads, func(db *postgres.Database) ([]overview.HistoryMark, error) {
		return search.NewOverviews(db).Marks(ctx, window)
	})
}

// Letters implements domain.DeadLetters. List, Groups, Values and Fields may ask the standby.
// Everything else, such as counting and replaying them, is done on the primary.
type Letters struct {
	*deadletters.Letters
	reads *Reads
}

// NewLetters returns the dead letters.
func NewLetters(reads *Reads) Letters { return Letters{deadletters.New(reads.primary), reads} }

var _ domain.DeadLetters = Letters{}

// List implements domain.DeadLetters.
func (l Letters) List(ctx context.Context, filter domain.DeadFilter, after domain.Cursor, limit int) ([]domain.DeadLetter, error) {
	return ask(ctx, l.reads, func(db *postgres.Database) ([]domain.DeadLetter, error) {
		return deadletters.New(db).List(ctx, filter, after, limit)
	})
}

// Groups implements domain.DeadLetters.
func (l Letters) Groups(ctx context.Context, filter domain.DeadFilter, limit int) ([]domain.DeadGroup, bool, error) {
	found, err := ask(ctx, l.reads, func(db *postgres.Database) (t two[[]domain.DeadGroup, bool], err error) {
		t.a, t.b, err = deadletters.New(db).Groups(ctx, filter, limit)
		return t, err
	})
	return found.a, found.b, err
}

// Values implements domain.DeadLetters.
func (l Letters) Values(ctx context.Context, filter domain.DeadFilter, path []string, limit int) (domain.FieldValues, error) {
	return ask(ctx, l.reads, func(db *postgres.Database) (domain.FieldValues, error) {
		return deadletters.New(db).Values(ctx, filter, path, limit)
	})
}

// Fields implements domain.DeadLetters.
func (l Letters) Fields(ctx context.Context, filter domain.DeadFilter) ([]string, error) {
	return ask(ctx, l.reads, func(db *postgres.Database) ([]string, error) {
		return deadletters.New(db).Fields(ctx, filter)
	})
}

// Subscriptions implements setup.SubscriptionOverviews. Standings may ask the standby.
// Everything else is done on the primary.
type Subscriptions struct {
	*subscriptions.Store
	reads *Reads
}

// NewSubscriptions returns the subscriptions.
func NewSubscriptions(reads *Reads) Subscriptions {
	return Subscriptions{subscriptions.New(reads.primary), reads}
}

var _ setup.SubscriptionOverviews = Subscriptions{}

// Standings implements setup.SubscriptionOverviews.
func (s Subscriptions) Standings(ctx context.Context) (map[string]setup.SubscriptionStanding, bool, error) {
	found, err := ask(ctx, s.reads, func(db *postgres.Database) (t two[map[string]setup.SubscriptionStanding, bool], err error) {
		t.a, t.b, err = subscriptions.New(db).Standings(ctx)
		return t, err
	})
	return found.a, found.b, err
}
