#!/bin/sh
# Runs after the files are installed. Debian calls this script with "configure" and the previous
# version, if there was one; RPM with 1 at the first installation and 2 at an upgrade. The first
# installation enables and starts nothing, because outboxd is not configured yet.
set -e
case "$1" in
  configure) before=$2 ;;
  1) before= ;;
  *) before=some ;;
esac
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers outboxd.conf
elif ! getent passwd outboxd >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/outboxd --no-create-home --shell /usr/sbin/nologin outboxd
fi
# Only at the first installation, because somebody may have set other rights since then.
if [ -z "$before" ] && [ -e /etc/outboxd/outboxd.yaml ]; then
  chgrp outboxd /etc/outboxd/outboxd.yaml
  chmod 0640 /etc/outboxd/outboxd.yaml
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
  # At an upgrade, running instances are restarted: they drain, and then the new version starts.
  [ -z "$before" ] || systemctl try-restart 'outboxd@*.service' || true
fi
