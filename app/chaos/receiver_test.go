package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// fanType is the type of the events that go to two receivers over HTTP besides their
// queue.
const fanType = "chaos:fan"

// receiverNames are the names of the receivers, and of their subscriptions.
var receiverNames = [...]string{"left", "right"}

const secretVariable = "CHAOS_SECRET"

// receiver takes deliveries over HTTP, in this process. After a kill it still knows what
// it has taken.
type receiver struct {
	name, address string

	mu     sync.Mutex
	server *http.Server      // nil: killed
	taken  map[domain.ID]int // how often, by event
	first  []domain.ID       // in the order in which each was first taken
}

// Parts of the requests.
const (
	refusals = 0.04 // that get an error, and are not taken
	hangUps  = 0.02 // that are taken, and get no answer
)

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	id, err := domain.ParseID(request.Header.Get("webhook-id"))
	dice := rand.Float64()
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	case dice < refusals/2:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case dice < refusals:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	r.mu.Lock()
	if r.taken[id]++; r.taken[id] == 1 {
		r.first = append(r.first, id)
	}
	r.mu.Unlock()
	if dice > 1-hangUps {
		panic(http.ErrAbortHandler)
	}
}

// start listens, after a kill at the same address as before.
func (r *receiver) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		return fmt.Errorf("listen for deliveries: %w", err)
	}
	r.address = listener.Addr().String()
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func(server *http.Server) { _ = server.Serve(listener) }(r.server)
	return nil
}

// kill ends all connections. It reports whether there was anything to kill.
func (r *receiver) kill() bool {
	r.mu.Lock()
	server := r.server
	r.server = nil
	r.mu.Unlock()
	if server == nil {
		return false
	}
	_ = server.Close()
	return true
}

// killReceiver kills one of the receivers until the fault ends.
func (i *injector) killReceiver(target uint64) (string, func() string, error) {
	if len(i.receivers) == 0 {
		return "", nil, nil
	}
	r := i.receivers[target%uint64(len(i.receivers))]
	if !r.kill() {
		return "", nil, nil
	}
	return r.name, func() string {
		if err := r.start(); err != nil {
			i.broken = errors.Join(i.broken, err)
		}
		return r.name
	}, nil
}

// openReceivers starts the receivers, and subscribes them to the events of fanType.
func (r *run) openReceivers() error {
	var file bytes.Buffer
	for _, name := range receiverNames {
		one := &receiver{name: name, address: "127.0.0.1:0", taken: map[domain.ID]int{}}
		if err := one.start(); err != nil {
			return err
		}
		r.receivers = append(r.receivers, one)
		fmt.Fprintf(&file, "- {name: %s, types: ['%s'], url: 'http://%s', secret: 'env:%s', ordering: key, timeout: 5s, retry: {attempts: 1000, max: 1s}}\n", name, fanType, one.address, secretVariable)
	}
	path := filepath.Join(r.o.Folder, "subscriptions.yaml")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the subscriptions: %w", err)
	}
	cmd := r.o.Commands.Outboxd("subscriptions", "apply", "-f", path, "--yes")
	cmd.Dir = r.o.Folder
	cmd.Env = append(cmd.Env, "OUTBOXD_DATABASE_URL="+r.o.Servers.AdminDatabase, secretVariable+"="+receiverSecret)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apply the subscriptions: %w\n%s", err, out)
	}
	return nil
}

const receiverSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func (r *run) closeReceivers() {
	for _, one := range r.receivers {
		one.kill()
	}
	if r.elsewhere != nil {
		r.elsewhere.Close()
	}
}

// newDeliverers returns the processes that send the deliveries.
func newDeliverers(o Options) (slots []*slot) {
	for i := range o.Workers {
		slots = append(slots, newSlot(fmt.Sprintf("deliverer %d", i+1), func() (*exec.Cmd, error) {
			cmd := o.Commands.Outboxd("--roles=worker", "--worker-queues=unused=1", "--monitor-addr=", "--migrate=off", "--log-level=info", "--log-format=json",
				"--deliver-allow=127.0.0.0/8", "--deliver-check-interval=200ms", "--redis-check-interval=500ms", "--shutdown-timeout=30s")
			cmd.Dir = o.Folder
			cmd.Env = append(cmd.Env, "OUTBOXD_DATABASE_URL="+o.Servers.Database+"&application_name=deliverer", "OUTBOXD_REDIS_URL="+o.Servers.Redis, secretVariable+"="+receiverSecret)
			return cmd, nil
		}))
	}
	return slots
}

// deliveries are what the receivers took of a run.
type deliveries struct {
	taken, again int
	phantoms     []domain.ID // events that did not commit
	late         []domain.ID // events that a receiver took after a later event of their key
}

const deliveriesSQL = `
SELECT l.event_id, s.name, outbox_delivery_id(l.event_id, s.id), coalesce(l.turn, 0), coalesce(l.key, ''),
    EXISTS (SELECT FROM chaos.changes c WHERE c.event_id = l.event_id AND ` + cancelledSQL + `),
    EXISTS (SELECT FROM chaos.changes c WHERE c.event_id = l.event_id AND what = 'cancel' AND answer = 'requested')
FROM chaos.ledger l, outbox_subscriptions s WHERE l.type = '` + fanType + `'`

// readDeliveries enters into the given traces which deliveries have to be made, and which of
// them the receivers took.
func readDeliveries(ctx context.Context, b books, all traces) (found deliveries, err error) {
	rows, err := b.admin.Query(ctx, deliveriesSQL)
	if err != nil {
		return found, fmt.Errorf("read the deliveries: %w", err)
	}
	type place struct {
		turn int64
		key  string
	}
	turns, made := map[domain.ID]place{}, map[string]map[domain.ID]domain.ID{}
	var event, delivery [16]byte
	var name string
	var at place
	var cancelled, requested bool
	if _, err := pgx.ForEachRow(rows, []any{&event, &name, &delivery, &at.turn, &at.key, &cancelled, &requested}, func() error {
		t := all.of(delivery)
		t.committed++
		t.delivery, t.cancelled, t.requested = true, cancelled, requested
		turns[event] = at
		if made[name] == nil {
			made[name] = map[domain.ID]domain.ID{}
		}
		made[name][event] = delivery
		return nil
	}); err != nil {
		return found, fmt.Errorf("read the deliveries: %w", err)
	}
	for _, r := range b.receivers {
		r.mu.Lock()
		last := map[string]int64{}
		for _, id := range r.first {
			found.taken++
			found.again += r.taken[id] - 1
			delivery, there := made[r.name][id]
			if !there {
				found.phantoms = append(found.phantoms, id)
				continue
			}
			all.of(delivery).effects++
			if at := turns[id]; at.turn > 0 {
				if at.turn < last[at.key] {
					found.late = append(found.late, id)
				}
				last[at.key] = max(last[at.key], at.turn)
			}
		}
		r.mu.Unlock()
	}
	return found, nil
}

func (v *Verdict) add(found deliveries) {
	v.Delivered, v.Again = found.taken, found.again
	for _, id := range found.phantoms {
		v.violate(phantom, id)
	}
	for _, id := range found.late {
		v.violate(disorder, id)
	}
}
