package monitor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler"
	"outboxd/handler/dashboard/masking"
	"outboxd/handler/signin"
)

const tasksPath = "/monitoring/tasks"

// tasksPolicy is the Content-Security-Policy of Asynqmon's page. tasksPolicy blocks
// the web fonts that the page loads from another site. The page works without them.
const tasksPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

// TaskPages has two versions of Asynqmon's pages: one is read-only, and the other also
// changes tasks and queues. The pages open connections to Redis when they first need them.
type TaskPages struct {
	readOnly *asynqmon.HTTPHandler
	full     *asynqmon.HTTPHandler
}

// NewTaskPages returns Asynqmon's pages for a Redis. NewTaskPages does not connect to
// Redis.
func NewTaskPages(redis asynq.RedisConnOpt) *TaskPages {
	return &TaskPages{
		readOnly: asynqmon.New(asynqmon.Options{RootPath: tasksPath, RedisConnOpt: redis, ReadOnly: true}),
		full:     asynqmon.New(asynqmon.Options{RootPath: tasksPath, RedisConnOpt: redis}),
	}
}

// Close closes the connections to Redis. Call Close after the monitor was shut down.
func (t *TaskPages) Close() error {
	if err := errors.Join(t.readOnly.Close(), t.full.Close()); err != nil {
		return fmt.Errorf("close the task pages: %w", err)
	}
	return nil
}

// routes adds the pages, behind the check of what the visitor may do. The pattern of the
// route has a slash before the *, so that Asynqmon's pages do not answer at
// /monitoring/tasksfoo. A visitor who may not see whole payloads gets them as the dashboard
// shows them: without the values of keys whose name contains one of the names to mask.
func (t *TaskPages) routes(app *fiber.App, in *signin.SignIn, logger *slog.Logger, mask []string) {
	readOnly, full := adaptor.HTTPHandler(t.readOnly), adaptor.HTTPHandler(t.full)
	app.Get(tasksPath, func(c *fiber.Ctx) error { return c.Redirect("tasks/", http.StatusPermanentRedirect) })
	check := func(c *fiber.Ctx) error {
		asked, err := asRouted(c)
		if err != nil {
			return err
		}
		return in.Check(c, taskAction(c.Method(), asked.Path))
	}
	app.All(tasksPath+"/*", check, func(c *fiber.Ctx) error {
		asked, err := asRouted(c)
		if err != nil {
			return err
		}
		if err := checkPage(asked.Query()); err != nil {
			return err
		}
		who, serve := in.Identity(c), readOnly
		if who.Role >= access.Operator {
			serve = full
		}
		if err := serve(c); err != nil {
			return err
		}
		if !who.May(access.Unmask) && strings.HasPrefix(asked.Path, tasksPath+"/api/") {
			maskPayloads(c, mask)
		}
		if !handler.IsSafe(c.Method()) && c.Response().StatusCode() < http.StatusBadRequest {
			logger.InfoContext(c.UserContext(), "tasks were changed in Asynqmon", "who", who.Name, "method", c.Method(), "path", c.Path())
		}
		c.Set(fiber.HeaderContentSecurityPolicy, tasksPolicy)
		settle(c)
		if strings.HasPrefix(c.Path(), tasksPath+"/static/") {
			c.Set(fiber.HeaderCacheControl, "private, max-age=86400") // the name of a file changes with its content
		}
		return hideCause(c)
	})
}

// asRouted returns the address of a request as Asynqmon's router reads it, with a clean path.
// Fiber reads an address in another way. Fiber's path is as the client sent it, so "api" may
// be written "%61pi". And Fiber's path and query end at a #, but Asynqmon's do not.
func asRouted(c *fiber.Ctx) (*url.URL, error) {
	asked, err := url.ParseRequestURI(string(c.Request().Header.RequestURI()))
	if err != nil {
		return nil, handler.Problemf(http.StatusBadRequest, "the address cannot be read: a %% must be written as %%25")
	}
	asked.Path = path.Clean("/" + asked.Path)
	return asked, nil
}

// mostTasks is how many tasks one answer of Asynqmon may list. Its page asks for 100 at most.
const mostTasks = 100

// checkPage refuses a size for which Asynqmon would read too many tasks in one Redis command. Redis
// does nothing else meanwhile. For a size of 0 or less Asynqmon would read all tasks of a queue. A
// size that is no number passes, because Asynqmon ignores it.
func checkPage(query url.Values) error {
	if size, err := strconv.Atoi(query.Get("size")); err == nil && (size < 1 || size > mostTasks) || errors.Is(err, strconv.ErrRange) {
		return domain.Errorf(domain.CodeInvalid, "size is how many tasks a page lists: from 1 to %d", mostTasks)
	}
	return nil
}

// taskAction returns the kind of action that a request to Asynqmon asks for. If a path of
// Asynqmon's API has a verb, it stands after the last colon: …/retry_tasks/{id}:run.
func taskAction(method, address string) string {
	if handler.IsSafe(method) {
		return access.See
	}
	place := address[strings.LastIndexByte(address, '/')+1:]
	verb := place[strings.LastIndexByte(place, ':')+1:]
	switch verb = strings.TrimSuffix(strings.TrimPrefix(verb, "batch_"), "_all"); {
	case method == http.MethodDelete && strings.HasPrefix(address, tasksPath+"/api/queues/") && strings.Count(address, "/") == strings.Count(tasksPath, "/")+3:
		return access.Remove
	case method == http.MethodDelete, verb == "delete":
		return access.Discard
	case verb == "run", verb == "cancel":
		return domain.ActionRetry
	case verb == "archive":
		return domain.ActionGiveUp
	case verb == "pause":
		return domain.ActionPause
	case verb == "resume":
		return domain.ActionResume
	default:
		return "" // takes an admin
	}
}

// maskPayloads hides values in the task payloads and task results of an answer of
// Asynqmon. If maskPayloads cannot parse the answer, it drops the whole answer,
// because the answer might contain payloads.
func maskPayloads(c *fiber.Ctx, mask []string) {
	body := c.Response().Body()
	if c.Response().StatusCode() != http.StatusOK || len(body) == 0 {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var answer any
	if decoder.Decode(&answer) != nil {
		c.Response().ResetBody()
		return
	}
	maskWithin(answer, mask)
	masked, err := json.Marshal(answer)
	if err != nil {
		masked = nil
	}
	c.Response().SetBody(masked)
}

func maskWithin(value any, mask []string) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			maskWithin(element, mask)
		}
	case map[string]any:
		for name, member := range value {
			text, isText := member.(string)
			if isText && (name == "payload" || name == "task_payload" || name == "result") && text != "" {
				value[name] = masking.Masked(mask, []byte(text))
			} else {
				maskWithin(member, mask)
			}
		}
	}
}

// hideCause replaces Asynqmon's answers with status 500 or above, because their text may
// contain the address of Redis. Asynqmon also answers 500 to some wrong requests, for example
// to pause a queue that is already paused.
func hideCause(c *fiber.Ctx) error {
	if c.Response().StatusCode() < http.StatusInternalServerError {
		return nil
	}
	cause := errors.New(strings.TrimSpace(string(c.Response().Body())))
	c.Response().ResetBody()
	switch text := cause.Error(); {
	case strings.HasPrefix(text, "NOT_FOUND:"), strings.HasSuffix(text, asynq.ErrQueueNotFound.Error()):
		return domain.Wrap(domain.CodeNotFound, cause, "there is no such queue")
	case strings.HasSuffix(text, "is already paused"):
		return domain.Wrap(domain.CodeConflict, cause, "the queue is already paused")
	case strings.HasSuffix(text, "is not paused"):
		return domain.Wrap(domain.CodeConflict, cause, "the queue is not paused")
	default:
		return domain.Wrap(domain.CodeUnavailable, cause, "the queues cannot be read at the moment")
	}
}
