package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/singleflight"

	"outboxd/domain"
	"outboxd/handler/dashboard/sight"
)

// checkPatience is how long one check may take.
const checkPatience = 2 * time.Second

// Check is a readiness check of one server that the process needs.
type Check struct {
	Name string // such as "postgres"
	// Run returns nil if the server answers. If Run returns a domain.Error, clients see its
	// message. Clients do not see the text of other errors. Run may be called from any
	// goroutine, but never twice at once. After two seconds the check counts as failed.
	Run func(ctx context.Context) error
	// OneOf names a group of checks, of which one must pass. "": this check must pass.
	OneOf string
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Status   string        `json:"status"` // ok, failing or draining
	Roles    []string      `json:"roles"`
	Checks   []CheckResult `json:"checks"`
	Warnings []string      `json:"warnings"`
}

// CheckResult is the result of one check.
type CheckResult struct {
	Name       string  `json:"name"`
	Status     string  `json:"status"` // ok or error
	Error      string  `json:"error,omitempty"`
	DurationMS float64 `json:"duration_ms"`
}

const (
	statusOK       = "ok"
	statusError    = "error"
	statusFailing  = "failing"
	statusDraining = "draining"
)

// probe is a readiness check with its last result.
type probe struct {
	Check
	running atomic.Bool // calls of a Run that ignores its context must not pile up
	mu      sync.Mutex
	failing bool
}

// readiness runs the readiness checks. Requests that come while the checks run share the
// result, so that many requests cannot overload the servers that are checked.
type readiness struct {
	logger   *slog.Logger
	roles    []string
	probes   []*probe
	warnings func() []string
	draining func() bool
	group    singleflight.Group
}

func newReadiness(o Options, logger *slog.Logger) *readiness {
	r := &readiness{logger: logger, roles: o.Roles, warnings: o.Warnings, draining: o.Draining}
	for _, check := range o.Checks {
		r.probes = append(r.probes, &probe{Check: check})
	}
	return r
}

// look runs all checks at the same time.
func (r *readiness) look() Readiness {
	// Several requests share this result, so no request's context may end the
	// checks.
	found, _, _ := r.group.Do("", func() (any, error) {
		state := Readiness{Status: statusOK, Roles: append([]string{}, r.roles...), Warnings: []string{}}
		state.Checks = make([]CheckResult, len(r.probes))
		var done sync.WaitGroup
		for i, p := range r.probes {
			done.Go(func() { state.Checks[i] = p.look(r.logger) })
		}
		done.Wait()
		if !r.isReady(state.Checks) {
			state.Status = statusFailing
		}
		if r.draining != nil && r.draining() {
			state.Status = statusDraining
		}
		if r.warnings != nil {
			state.Warnings = append(state.Warnings, r.warnings()...)
		}
		return state, nil
	})
	return found.(Readiness)
}

// isReady reports whether the results, which have the order of the probes, make the
// process ready.
func (r *readiness) isReady(results []CheckResult) bool {
	passes := map[string]bool{} // by group
	for i, c := range results {
		group := r.probes[i].OneOf
		switch {
		case group != "":
			passes[group] = passes[group] || c.Status == statusOK
		case c.Status != statusOK:
			return false
		}
	}
	for _, passed := range passes {
		if !passed {
			return false
		}
	}
	return true
}

func (r *readiness) answer(c *fiber.Ctx) error {
	state := r.look()
	if state.Status != statusOK {
		c.Status(http.StatusServiceUnavailable)
	}
	return c.JSON(state)
}

// forPeople returns the readiness in the form that the pages show.
func (r *readiness) forPeople() sight.Readiness {
	state := r.look()
	shown := sight.Readiness{Status: state.Status, Roles: state.Roles}
	for _, c := range state.Checks {
		shown.Checks = append(shown.Checks, sight.Check{
			Name: c.Name, Fault: c.Error, Took: time.Duration(c.DurationMS * float64(time.Millisecond)),
		})
	}
	return shown
}

func (p *probe) look(logger *slog.Logger) CheckResult {
	began := time.Now()
	err := p.run()
	took := time.Since(began)
	p.log(logger, err)
	result := CheckResult{Name: p.Name, Status: statusOK, DurationMS: float64(took.Microseconds()) / 1000}
	if err != nil {
		result.Status, result.Error = statusError, outsidersText(err)
	}
	return result
}

// run runs the check and returns its result, within checkPatience.
func (p *probe) run() error {
	if !p.running.CompareAndSwap(false, true) {
		return domain.Errorf(domain.CodeUnavailable, "the previous check has not ended yet")
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkPatience)
	result := make(chan error, 1)
	go func() {
		err := p.recovered(ctx)
		p.running.Store(false) // before the caller has the result, so that its next run can start
		result <- err
		cancel()
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		// Both cases may be ready at the same time, because the end of a check
		// cancels the context. So look for a result first.
		select {
		case err := <-result:
			return err
		default:
			return ctx.Err()
		}
	}
}

func (p *probe) recovered(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.Run(ctx)
}

// log logs only the first failure of a check and the first success after it, because
// requests to /readyz may come every few seconds.
func (p *probe) log(logger *slog.Logger, err error) {
	p.mu.Lock()
	changed := p.failing != (err != nil)
	p.failing = err != nil
	p.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		logger.Warn("not ready", "check", p.Name, "error", err)
	default:
		logger.Info("ready again", "check", p.Name)
	}
}

// outsidersText returns what /readyz may show of an error. Anybody may ask /readyz, and errors of
// database drivers may contain addresses and user names.
func outsidersText(err error) string {
	var known *domain.Error
	switch {
	case errors.As(err, &known):
		return known.Message
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "no answer in time"
	default:
		return "failed; the log says why"
	}
}
