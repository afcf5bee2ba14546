package events

import (
	"time"

	"outboxd/domain"
)

// DeadDocument is a dead letter in JSON and YAML.
type DeadDocument struct {
	ID            domain.ID `json:"id"`
	Type          string    `json:"type"`
	Queue         string    `json:"queue"`
	OrderingKey   string    `json:"ordering_key,omitempty"`
	HoldsKey      bool      `json:"holds_key"`
	Generation    int       `json:"generation"`
	Stage         string    `json:"stage"`
	Attempts      int       `json:"attempts"`
	Error         string    `json:"error"`
	FirstError    string    `json:"first_error"`
	CreatedAt     time.Time `json:"created_at"`
	FirstFailedAt time.Time `json:"first_failed_at"`
	DiedAt        time.Time `json:"died_at"`
}

// NewDeadDocument converts a dead letter.
func NewDeadDocument(d *domain.DeadLetter) DeadDocument {
	return DeadDocument{
		ID: d.ID, Type: d.Type, Queue: d.Queue, OrderingKey: d.OrderingKey, HoldsKey: d.HoldsKey, Generation: d.Generation,
		Stage: string(d.Stage), Attempts: d.Attempts, Error: d.Error, FirstError: d.FirstError,
		CreatedAt: d.CreatedAt.UTC(), FirstFailedAt: d.FirstFailedAt.UTC(), DiedAt: d.DiedAt.UTC(),
	}
}
