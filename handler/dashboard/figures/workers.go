package figures

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/overview"
	"outboxd/handler/dashboard/shell"
)

// workersPage is the data of the page of workers.
type workersPage struct {
	At      time.Time
	Workers []overview.WorkerStatus
}

// workers serves the page that lists the workers with the tasks that they are
// working on.
func (p *Pages) workers(c *fiber.Ctx) error {
	if p.Figures == nil {
		return shell.NoRedis()
	}
	list, err := p.Figures.Queues.Workers(c.UserContext())
	if err != nil {
		return err
	}
	return p.Render(c, shell.Page{Template: "workers", Title: "Workers", Section: shell.SectionWorkers, Data: workersPage{time.Now(), list}})
}
