package dashboard

import (
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/overview"
	"outboxd/domain/setup"
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
func (d *Dashboard) subscriptions(c *fiber.Ctx) error {
	if d.o.Sources.Subscriptions == nil {
		return errNoDatabase()
	}
	list, err := d.o.Sources.Subscriptions.List(c.UserContext())
	if err != nil {
		return err
	}
	lines, complete, err := d.subscriptionLines(c, list)
	if err != nil {
		return err
	}
	return d.Render(c, Page{Template: "subscriptions", Title: "Subscriptions", Section: SectionSubscriptions, Data: subscriptionsPage{lines, complete}})
}

// subscription shows one subscription.
func (d *Dashboard) subscription(c *fiber.Ctx) error {
	if d.o.Sources.Subscriptions == nil {
		return errNoDatabase()
	}
	found, err := d.o.Sources.Subscriptions.Find(c.UserContext(), c.Params("name"))
	if err != nil {
		return err
	}
	lines, complete, err := d.subscriptionLines(c, []setup.Subscription{*found})
	if err != nil {
		return err
	}
	p := subscriptionPage{subscriptionLine: lines[0], Complete: complete, Types: strings.Join(found.Types, " ")}
	if p.Replay, err = d.o.Sources.Subscriptions.Replay(c.UserContext(), found.Name); err != nil {
		return err
	}
	return d.Render(c, Page{Template: "subscription", Title: "Subscription " + found.Name, Section: SectionSubscriptions, Data: &p})
}

// sightAge is how old the facts from Redis and about the workers may be.
const sightAge = 5 * time.Second

func (d *Dashboard) subscriptionLines(c *fiber.Ctx, list []setup.Subscription) (lines []subscriptionLine, complete bool, err error) {
	standings, complete, err := d.o.Sources.Subscriptions.Standings(c.UserContext())
	if err != nil {
		return nil, false, err
	}
	var queues []overview.QueueStatus
	var redisKnown bool
	if d.o.Sources.Look != nil {
		sight := d.o.Sources.Look(sightAge)
		queues, redisKnown = sight.Quick.Queues, sight.Quick.RedisErr == nil
	}
	for i := range list {
		s := &list[i]
		line := subscriptionLine{Subscription: *s, SubscriptionStanding: standings[s.Name], State: "active", RedisKnown: redisKnown}
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
