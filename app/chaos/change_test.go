package chaos

import (
	"context"
	"errors"
	"fmt"
)

// change changes a running server, and undoes the change when the fault ends. If the
// server is down or its disk is full at that moment, the undoing waits until the server
// is back. change does nothing if the server is down already when the fault begins, or
// if a change of the same kind still lasts.
func (i *injector) change(ctx context.Context, kind Kind, server Server, hit string, do, undo func(context.Context) error) (string, func() string, error) {
	if i.down[server] || i.changed[kind] {
		return "", nil, nil
	}
	if err := patiently(ctx, do); err != nil {
		return "", nil, err
	}
	i.changed[kind] = true
	return hit, func() string {
		delete(i.changed, kind)
		i.undo(server, undo)
		return hit
	}, nil
}

// undo calls the function work, which ends a change: at once, or when the server is
// back.
func (i *injector) undo(server Server, work func(context.Context) error) {
	if i.down[server] {
		i.owed[server] = append(i.owed[server], work)
		return
	}
	// Do not use the run's context: the change must be undone even if that context has ended.
	if err := patiently(context.Background(), work); err != nil {
		i.broken = errors.Join(i.broken, fmt.Errorf("end a fault: %w", err))
	}
}

// back is called when a server runs again. It ends the changes whose undoing waited for
// the server.
func (i *injector) back(server Server) {
	delete(i.down, server)
	if server == Server(i.servers.RedisServer) {
		i.undo(server, func(ctx context.Context) error { return admitToRedis(ctx, i.redis) })
	}
	owed := i.owed[server]
	delete(i.owed, server)
	for _, work := range owed {
		i.undo(server, work)
	}
}
