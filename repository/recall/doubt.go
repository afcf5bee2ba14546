package recall

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// Some handlers, such as those of deliveries and of mails, hold no transaction while they
// wait for a receiver. Only Redis knows whether such a task is running. So a transaction
// that changes such an event first records the change, and then asks Redis about the task.
// A task that is not active asks the inbox before its effect. The task then waits there
// for this transaction, and finds that there is nothing to do. If the task is active, the
// transaction is undone, and done again without that event.

const (
	// mostLooks is how often at most a transaction is undone. After that, an event is not
	// changed if only Redis knows whether its task is running.
	mostLooks = 3
	// queuePatience bounds a question to the queue. Handlers of the changed events wait
	// meanwhile.
	queuePatience = 3 * time.Second
)

// queued is the answer of the SQL functions if the database cannot tell whether the
// event's effect is happening now: only Redis knows whether its task is running.
const queued domain.ChangeAnswer = "queued"

// errDoubt undoes a transaction.
var errDoubt = errors.New("a task of a changed event may be running")

// errNoQueue says that there is no queue to ask.
var errNoQueue = domain.Errorf(domain.CodeUnavailable, "no queue is known")

// doubt has what Redis said about the tasks of events that are to be changed.
type doubt struct {
	queue   domain.RunningTasks
	blind   []domain.ID // they are not changed if only Redis knows whether a task is running
	running []domain.ID // a task of them may be running
	looks   int
	failed  error // why the queue could not be asked
}

// The method sure runs the function change again as long as it returns errDoubt and ctx has not
// ended. The function runs one transaction that changes events. It reads the answers of the SQL
// functions with read, and after its changes it returns the error of look.
func (c *Changes) sure(ctx context.Context, ids []domain.ID, change func(*doubt) error) error {
	d := &doubt{queue: c.queue}
	if c.queue == nil {
		d.failed = errNoQueue
	}
	for {
		if d.failed != nil || d.looks == mostLooks {
			d.blind = ids
		}
		if err := change(d); !errors.Is(err, errDoubt) || ctx.Err() != nil {
			return err
		}
	}
}

// read reads the answers of a transaction.
func (d *doubt) read(rows pgx.Rows) ([]domain.Change, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ch domain.Change, err error) {
		err = row.Scan((*[16]byte)(&ch.ID), &ch.Answer)
		if ch.Answer == queued {
			ch.Answer = d.instead(ch.ID)
		}
		return ch, err
	})
}

func (d *doubt) instead(id domain.ID) domain.ChangeAnswer {
	switch {
	case slices.Contains(d.running, id):
		return domain.TooLateRunning
	case d.failed != nil:
		return domain.TooLateInFlight
	default:
		return domain.TooLateBusy
	}
}

const askedTasksSQL = `SELECT origin, event_id, queue, generation FROM outbox_asked_tasks($1)`

// look asks the queue about the tasks of changed events. look returns errDoubt if one of
// these tasks may be running, or if the queue cannot be asked.
func (d *doubt) look(ctx context.Context, tx pgx.Tx, changes []domain.Change) error {
	var changed [][16]byte
	for _, ch := range changes {
		if ch.Answer.Done() && !slices.Contains(d.blind, ch.ID) {
			changed = append(changed, ch.ID)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, askedTasksSQL, changed)
	if err != nil {
		return err
	}
	var origins []domain.ID
	tasks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e domain.Event, err error) {
		var origin domain.ID
		err = row.Scan((*[16]byte)(&origin), (*[16]byte)(&e.ID), &e.Queue, &e.Generation)
		origins = append(origins, origin)
		return e, err
	})
	if err != nil || len(tasks) == 0 {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, queuePatience)
	defer cancel()
	d.looks++
	running, err := d.queue.Running(patience, tasks)
	if err != nil {
		d.failed = err
		return errDoubt
	}
	for i, origin := range origins {
		if running[i] && !slices.Contains(d.blind, origin) {
			d.running, d.blind = append(d.running, origin), append(d.blind, origin)
			err = errDoubt
		}
	}
	return err
}
