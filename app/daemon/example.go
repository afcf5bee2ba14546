package daemon

import (
	"context"
	"path/filepath"

	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/registration"
	api "outboxd/handler/registration"
	tasks "outboxd/jobs/registration"
	"outboxd/jobs/registration/notify"
	"outboxd/jobs/work"
	"outboxd/migrations/example"
	"outboxd/repository"
	store "outboxd/repository/registration"
)

func (d *Daemon) addAPI() {
	var committed func()
	if d.one.relay != nil {
		committed = d.one.relay.Wake
	}
	users := store.NewUsers(d.one.database, example.Schema(d.cfg.Database.Schema))
	app := api.New(api.Options{
		Users: users, Committed: committed, Logger: d.log, Registerer: d.registry, Tracer: d.traces.Tracer("outboxd/handler"), Version: d.build.Version,
		BodyLimit: int(d.cfg.API.BodyLimit), HashConcurrency: d.cfg.API.HashConcurrency,
		RateLimit: d.cfg.API.RateLimit, TrustedProxies: d.cfg.API.TrustedProxies,
	})
	d.lineup.add(stageAPI, "api", serve(app, d.apiListener, share(d.cfg.ShutdownTimeout, requestShare), d.log))
	d.addSupervised(stageAPI, "trimming of idempotency keys", api.TrimKeys(users, d.cfg.API.IdempotencyRetention, d.log))
}

// exampleSenders returns the handlers that send the example's notifications.
func (d *Daemon) exampleSenders(bound *repository.Bound) (map[string]work.Outward, error) {
	notifier, err := d.newNotifier()
	if err != nil {
		return nil, err
	}
	notifications := boundedNotifications{store.NewNotifications(d.one.database, example.Schema(d.cfg.Database.Schema)), bound}
	return map[string]work.Outward{registration.TypeSendNotification: tasks.SendNotification(notifications, notifier)}, nil
}

// boundedNotifications reads notifications with the connections of the worker's tasks.
type boundedNotifications struct {
	registration.NotificationStore
	bound *repository.Bound
}

// FindNotification implements registration.NotificationStore.
func (b boundedNotifications) FindNotification(ctx context.Context, id domain.ID) (found *registration.Notification, of *registration.User, err error) {
	err = b.bound.Within(ctx, "find a notification", func() (err error) {
		found, of, err = b.NotificationStore.FindNotification(ctx, id)
		return err
	})
	return found, of, err
}

func (d *Daemon) newNotifier() (registration.Notifier, error) {
	switch d.cfg.Notify {
	case config.NotifySMTP:
		c := d.cfg.SMTP
		return notify.NewSMTP(notify.SMTPOptions{
			Addr: c.Addr, TLS: c.TLS, Username: c.Username, Password: string(c.Password), From: c.From, Timeout: c.Timeout,
		}, d.log)
	case config.NotifyWebhook:
		c := d.cfg.Webhook
		n, err := notify.NewWebhook(notify.WebhookOptions{URL: string(c.URL), Secret: string(c.Secret), Timeout: c.Timeout}, d.log)
		if err == nil {
			d.undo = append(d.undo, func() { _ = n.Close() })
		}
		return n, err
	default:
		dir, err := servers.DataDir(d.cfg)
		if err != nil {
			return nil, err
		}
		return notify.NewLog(filepath.Join(dir, "mail"), d.log)
	}
}
