// Command peers is outboxd with one more benchmark, "bench peers": outboxd beside River,
// and beside the textbook's loop with a plain Asynq worker. Command peers is a module of
// its own, so that nobody else downloads River.
package main

import (
	"context"
	"os"

	"outboxd/app"
	"outboxd/app/bench/effects"
	"outboxd/app/bench/env"
)

func main() {
	os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, app.Build{Version: "dev", Commit: "unknown", Date: "unknown"}, effects.Peers(prepare))) //nolint:forbidigo // this is main
}

func prepare(ctx context.Context, e *env.Env, o effects.PeerOptions) ([]effects.Peer, error) {
	var peers []effects.Peer
	for _, workers := range []int{o.AtOnce, manyWorkers} {
		with, err := newRiver(ctx, e, o.Effect, workers)
		if err != nil {
			return nil, err
		}
		peers = append(peers, with.peer())
	}
	loop := &textbook{env: e, effect: o.Effect, atOnce: o.AtOnce}
	return append(peers, loop.peer()), nil
}
