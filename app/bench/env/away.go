package env

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outboxd/app/bench/distance"
	"outboxd/app/bench/result"
)

// Away returns the same environment with a network delay to both servers.
func (e *Env) Away(ctx context.Context, oneWay time.Duration) (_ *Env, closeAll func() error, err error) {
	database, databaseURL, err := distance.Postgres(ctx, e.Admin, oneWay, nil)
	if err != nil {
		return nil, nil, err
	}
	queue, redisURL, opt, err := distance.Redis(e.RedisOpt, oneWay)
	if err != nil {
		return nil, nil, errors.Join(err, database.Close())
	}
	far, closeFar, err := e.Through(ctx, databaseURL, redisURL, opt)
	if err != nil {
		return nil, nil, errors.Join(err, queue.Close(), database.Close())
	}
	return far, func() error {
		closeFar()
		return errors.Join(queue.Close(), database.Close())
	}, nil
}

// MeasureRoundTrips adds the round-trip times that a client measures to the report.
func (e *Env) MeasureRoundTrips(ctx context.Context, report *result.Report) error {
	client, err := e.NewRedisClient()
	if err != nil {
		return err
	}
	defer client.Close()
	for name, ping := range map[string]func() error{
		"rtt_redis":      func() error { return client.Ping(ctx).Err() },
		"rtt_postgresql": func() error { return e.Admin.Ping(ctx) },
	} {
		took := make([]float64, 0, 21)
		for range cap(took) {
			begun := time.Now()
			if err := ping(); err != nil {
				return fmt.Errorf("measure the round trip: %w", err)
			}
			took = append(took, time.Since(begun).Seconds())
		}
		report.Environment[name] = time.Duration(result.Median(took) * float64(time.Second)).Round(time.Microsecond).String()
	}
	return nil
}
