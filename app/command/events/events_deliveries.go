package events

import (
	"fmt"
	"io"
	"time"

	"outboxd/app/command/terminal"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

// deliveryDocument is a delivery of an event in JSON and YAML.
type deliveryDocument struct {
	ID           domain.ID   `json:"id"`
	Subscription string      `json:"subscription"`
	State        lives.State `json:"state"`
	Description  string      `json:"description"` // of the state
	Since        *time.Time  `json:"since,omitempty"`
	Attempts     int         `json:"attempts"`
	LastStatus   string      `json:"last_status,omitempty"`
	NextAt       *time.Time  `json:"next_at,omitempty"`
}

func newDeliveryDocuments(deliveries []lives.Delivery, tasks map[domain.ID][]queued.TaskState) []deliveryDocument {
	now := time.Now()
	list := make([]deliveryDocument, len(deliveries))
	for i := range deliveries {
		d := &deliveries[i]
		own := tasks[d.ID]
		list[i] = deliveryDocument{
			ID: d.ID, Subscription: d.Subscription, State: d.State, Description: d.Describe(own, now),
			Attempts: d.Attempts, LastStatus: d.LastStatus(own),
		}
		if !d.Since.IsZero() {
			list[i].Since = new(d.Since.UTC())
		}
		if next := d.NextAt(own, now); !next.IsZero() {
			list[i].NextAt = new(next.UTC())
		}
	}
	return list
}

func deliveriesTable(w io.Writer, deliveries []deliveryDocument) {
	if len(deliveries) == 0 {
		return
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "SUBSCRIPTION\tDELIVERY\tATTEMPTS\tNEXT (UTC)\tLAST STATUS\tID")
	for _, d := range deliveries {
		next, last := "-", "-"
		if d.NextAt != nil {
			next = terminal.Instant(*d.NextAt)
		}
		if d.LastStatus != "" {
			last = terminal.OneLine(d.LastStatus, 80)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", d.Subscription, d.Description, d.Attempts, next, last, d.ID)
	}
}
