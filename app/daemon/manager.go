package daemon

import (
	"errors"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// manager reports the state of this process to its service manager: systemd, or
// another one with sd_notify's protocol. Without the variable NOTIFY_SOCKET,
// manager does nothing. Only one goroutine at a time may use it.
type manager struct {
	log  *slog.Logger
	mute bool // the log has said that a report failed
}

// tell sends one state, such as "READY=1".
func (m *manager) tell(state string) {
	if _, err := sd.SdNotify(false, state); err != nil && !m.mute {
		m.mute = true
		m.log.Warn("the service manager cannot be told how this process is; check NOTIFY_SOCKET", "error", err)
	}
}

// accompany reports to the service manager that the process is ready, sends
// watchdog pings, and reports when the process begins to drain. accompany goes on
// until the returned function is called.
//
// As long as alive returns nil, accompany sends two pings within each watchdog
// timeout of the service manager. While the process drains, accompany pings
// without calling alive, because draining has a time limit of its own.
func (m *manager) accompany(draining <-chan struct{}, alive func() error) (stop func()) {
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

// alive returns an error if a part of this process no longer works and cannot recover by
// itself. While alive returns an error, the service manager gets no ping. The error names
// that part.
func (d *Daemon) alive() error {
	for _, hangs := range d.hangs {
		if err := hangs(); err != nil {
			return err
		}
	}
	if ended := d.lineup.ended(); len(ended) > 0 {
		return errors.New("no longer running: " + ended[0])
	}
	return nil
}
