package setups

import (
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/handler/dashboard/shell"
)

// subscriptionLine is a subscription with the state of its deliveries.
type subscriptionLine struct {
	setup.Subscription
	setup.SubscriptionStanding
	State      string // active, paused or removed
	InRedis    int64  // tasks of deliveries in Redis that are not done
	RedisKnown bool
}

type subscriptionsPage struct {
	Lines    []subscriptionLine
	Complete bool // whether all waiting deliveries were counted
}

type subscriptionPage struct {
	subscriptionLine
	Complete bool
	Types    string
	Replay   *setup.SubscriptionReplay
}

// subscriptions lists the subscriptions.
func (p *Pages) subscriptions(c *fiber.Ctx) error {
	if p.Subscriptions == nil {
		return shell.NoDatabase()
	}
	list, err := p.Subscriptions.List(c.UserContext())
	if err != nil {
		return err
	}
	lines, complete, err := p.subscriptionLines(c, list)
	if err != nil {
		return err
	}
	return p.Render(c, shell.Page{Template: "subscriptions", Title: "Subscriptions", Section: shell.SectionSubscriptions, Data: subscriptionsPage{lines, complete}})
}

// subscription shows one subscription.
func (p *Pages) subscription(c *fiber.Ctx) error {
	if p.Subscriptions == nil {
		return shell.NoDatabase()
	}
	found, err := p.Subscriptions.Find(c.UserContext(), c.Params("name"))
	if err != nil {
		return err
	}
	lines, complete, err := p.subscriptionLines(c, []setup.Subscription{*found})
	if err != nil {
		return err
	}
	page := subscriptionPage{subscriptionLine: lines[0], Complete: complete, Types: strings.Join(found.Types, " ")}
	if page.Replay, err = p.Subscriptions.Replay(c.UserContext(), found.Name); err != nil {
		return err
	}
	return p.Render(c, shell.Page{Template: "subscription", Title: "Subscription " + found.Name, Section: shell.SectionSubscriptions, Data: &page})
}

// sightAge is how old the facts from Redis and about the workers may be.
const sightAge = 5 * time.Second

func (p *Pages) subscriptionLines(c *fiber.Ctx, list []setup.Subscription) (lines []subscriptionLine, complete bool, err error) {
	standings, complete, err := p.Subscriptions.Standings(c.UserContext())
	if err != nil {
		return nil, false, err
	}
	var queues []overview.QueueStatus
	var redisKnown bool
	if p.Look != nil {
		sight := p.Look(sightAge)
		queues, redisKnown = sight.Quick.Queues, sight.Quick.RedisErr == nil
	}
	for i := range list {
		s := &list[i]
		line := subscriptionLine{Subscription: *s, SubscriptionStanding: standings[s.Name], State: "active", RedisKnown: redisKnown}
		line.URL = p.Mask.Line(line.URL) // a query such as ?token=… lets whoever knows it send to the receiver
		switch {
		case !s.RemovedAt.IsZero():
			line.State = "removed"
		case s.Paused != nil:
			line.State = "paused"
		}
		if at := slices.IndexFunc(queues, func(q overview.QueueStatus) bool { return q.Name == s.Queue() }); at >= 0 {
			line.InRedis = queues[at].Unfinished()
		}
		lines = append(lines, line)
	}
	return lines, complete, nil
}
