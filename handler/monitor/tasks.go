package monitor

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"

	"outboxd/domain"
)

const tasksPath = "/monitoring/tasks"

// tasksPolicy cuts the web fonts that Asynqmon's page asks another site for,
// and leaves it working.
const tasksPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

// TaskPages are Asynqmon's pages, twice: to read, and to read and write. They
// hold connections to Redis, made when first needed.
type TaskPages struct {
	readOnly *asynqmon.HTTPHandler
	full     *asynqmon.HTTPHandler
}

// NewTaskPages returns the pages for one Redis. It does not connect.
func NewTaskPages(redis asynq.RedisConnOpt) *TaskPages {
	return &TaskPages{
		readOnly: asynqmon.New(asynqmon.Options{RootPath: tasksPath, RedisConnOpt: redis, ReadOnly: true}),
		full:     asynqmon.New(asynqmon.Options{RootPath: tasksPath, RedisConnOpt: redis}),
	}
}

// Close gives the connections back. The monitor must have been shut down.
func (t *TaskPages) Close() error {
	if err := errors.Join(t.readOnly.Close(), t.full.Close()); err != nil {
		return fmt.Errorf("close the task pages: %w", err)
	}
	return nil
}

// routes puts the pages behind g. A pattern with its own slash keeps them from
// answering at /monitoring/tasksfoo.
func (t *TaskPages) routes(app *fiber.App, g *guard) {
	readOnly, full := adaptor.HTTPHandler(t.readOnly), adaptor.HTTPHandler(t.full)
	app.Get(tasksPath, func(c *fiber.Ctx) error { return c.Redirect("tasks/", http.StatusPermanentRedirect) })
	app.All(tasksPath+"/*", g.check, func(c *fiber.Ctx) error {
		serve := readOnly
		if granted(c) == accessWrite {
			serve = full
		}
		if err := serve(c); err != nil {
			return err
		}
		c.Set(fiber.HeaderContentSecurityPolicy, tasksPolicy)
		settle(c)
		if strings.HasPrefix(c.Path(), tasksPath+"/static/") {
			c.Set(fiber.HeaderCacheControl, "private, max-age=86400") // their names change with their content
		}
		return hideCause(c)
	})
}

// hideCause replaces Asynqmon's 500s, which quote Redis's address.
func hideCause(c *fiber.Ctx) error {
	if c.Response().StatusCode() < http.StatusInternalServerError {
		return nil
	}
	cause := errors.New(strings.TrimSpace(string(c.Response().Body())))
	c.Response().ResetBody()
	return domain.Wrap(domain.CodeUnavailable, cause, "the queues cannot be read at the moment")
}
