package dashboard

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/overview"
)

// workersPage is the data of the page of workers.
type workersPage struct {
	At      time.Time
	Workers []overview.WorkerStatus
}

// workers serves the page that lists the workers with the tasks that they are
// working on.
func (d *Dashboard) workers(c *fiber.Ctx) error {
	if d.o.Sources.Figures == nil {
		return errNoQueue()
	}
	list, err := d.o.Sources.Figures.Queues.Workers(c.UserContext())
	if err != nil {
		return err
	}
	return d.Render(c, Page{Template: "workers", Title: "Workers", Section: SectionWorkers, Data: workersPage{time.Now(), list}})
}
