package systemd

import (
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// Manager reports the state of this process to its service manager: systemd, or
// another one with sd_notify's protocol. Without the variable NOTIFY_SOCKET,
// Manager reports nothing. Only one goroutine at a time may use it.
type Manager struct {
	log  *slog.Logger
	mute bool // the log has said that a report failed
}

// NewManager returns a Manager that logs to log.
func NewManager(log *slog.Logger) *Manager { return &Manager{log: log} }

// tell sends one state, such as "READY=1".
func (m *Manager) tell(state string) {
	if _, err := sd.SdNotify(false, state); err != nil && !m.mute {
		m.mute = true
		m.log.Warn("the service manager cannot be told how this process is; check NOTIFY_SOCKET", "error", err)
	}
}

// Accompany reports to the service manager that the process is ready, sends
// watchdog pings, and reports when the process begins to drain. Accompany goes on
// until the returned function is called.
//
// While the function alive returns nil, Accompany sends two pings within each watchdog
// timeout of the service manager; without such a timeout it sends none. While the
// process drains, Accompany pings without calling this function, because draining has a
// time limit of its own.
func (m *Manager) Accompany(draining <-chan struct{}, alive func() error) (stop func()) {
	m.tell(sd.SdNotifyReady)
	limit, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("the service manager's watchdog gets no pings, because WATCHDOG_USEC cannot be read", "error", err)
	}
	var beats <-chan time.Time
	release := func() {}
	if limit > 0 {
		ticker := time.NewTicker(limit / 2)
		beats, release = ticker.C, ticker.Stop
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer release()
		w := watchdog{log: m.log, alive: alive, beat: func() { m.tell(sd.SdNotifyWatchdog) }}
		for {
			select {
			case <-end:
				return
			case <-draining:
				m.tell(sd.SdNotifyStopping)
				draining, w.alive = nil, func() error { return nil }
			case <-beats:
				w.look()
			}
		}
	}()
	return func() { close(end); <-ended }
}

// watchdog pings the service manager's watchdog while the process is alive.
type watchdog struct {
	log    *slog.Logger
	alive  func() error
	beat   func()
	silent bool
}

func (w *watchdog) look() {
	err := w.alive()
	switch {
	case err == nil && w.silent:
		w.log.Info("the service manager's watchdog gets its pings again")
	case err != nil && !w.silent:
		w.log.Error("the service manager's watchdog gets no ping; the service manager will restart this process", "error", err)
	}
	if w.silent = err != nil; !w.silent {
		w.beat()
	}
}
