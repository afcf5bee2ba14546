// Package presence shows in Redis what a process that runs Asynq workers says about itself, such as
// its version. Asynq lists the workers of all programs with host and PID, but without a version.
package presence

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Presence is what the workers of a process say about themselves.
type Presence struct {
	Own     bool   // they are outboxd's own workers
	Version string // "": not known
}

// How long a key lasts, and how often it is written again.
const (
	lasts = 3 * time.Minute
	every = time.Minute
)

// early is how long before the start of its worker a key may be written: an Asynq server that begins
// at the same time as Show may note a later start.
const early = time.Second

// ShowVersion shows the version of this process's workers until ctx ends, and up to three minutes
// longer. All workers of a process have one version: the latest that was written. If Redis does not
// accept it, ShowVersion tries again a minute later.
func ShowVersion(ctx context.Context, client redis.UniversalClient, version string) {
	Show(ctx, client, Presence{Version: version})
}

// Show does the same as ShowVersion for a whole Presence.
func Show(ctx context.Context, client redis.UniversalClient, p Presence) {
	begun := time.Now()
	for {
		_ = client.Set(ctx, key(process()), p.text(latest(begun)), lasts).Err()
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// latest returns the present time. If the clock was put back after the given time, latest returns
// what the clock would show if it had not been put back.
func latest(begun time.Time) time.Time {
	now, elapsed := time.Now().Round(0), begun.Round(0).Add(time.Since(begun))
	if elapsed.After(now) {
		return elapsed
	}
	return now
}

const (
	own    = "own"
	others = "others"
)

// text returns the value of the key: when it is written, in milliseconds since 1970, whose workers
// they are, and their version.
func (p Presence) text(at time.Time) string {
	whose := others
	if p.Own {
		whose = own
	}
	return fmt.Sprintf("%d %s %s", at.UnixMilli(), whose, p.Version)
}

// shown is how many bytes of a key's value are read, so about 100 of the version.
const shown = 120

// Read reads the key of a process in a pipeline. Parse reads its answer.
func Read(ctx context.Context, pipe redis.Pipeliner, host string, pid int) *redis.StringCmd {
	return pipe.GetRange(ctx, key(host, pid), 0, shown-1)
}

// Parse returns what a process says about a worker that Asynq lists with the given start. If the
// text was written more than a second before that start, it is from an earlier process that had the
// same host and PID. Then, and if the text has another form, Parse returns the zero Presence.
func Parse(text string, started time.Time) Presence {
	fields := strings.SplitN(text, " ", 3)
	if len(fields) < 3 {
		return Presence{}
	}
	written, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || started.After(time.UnixMilli(written).Add(early)) {
		return Presence{}
	}
	return Presence{Own: fields[1] == own, Version: strings.ToValidUTF8(fields[2], "")}
}

// key returns the key of a process. The key begins like Asynq's keys, because some Redis users may
// access only keys that begin so.
func key(host string, pid int) string {
	return fmt.Sprintf("asynq:{outboxd}:worker:%s:%d", host, pid)
}

// process returns the host and the PID with which Asynq lists the workers of this process.
func process() (host string, pid int) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host" // as Asynq calls it
	}
	return host, os.Getpid()
}
