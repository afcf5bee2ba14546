#!/bin/sh
# After the files are there. Debian calls it with "configure" and the version before, if there
# was one; RPM with 1 for the first and 2 for an upgrade. The first installation enables and
# starts nothing, because outboxd is not configured yet.
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
# Somebody may have set other rights since the first installation.
if [ -z "$before" ] && [ -e /etc/outboxd/outboxd.yaml ]; then
  chgrp outboxd /etc/outboxd/outboxd.yaml
  chmod 0640 /etc/outboxd/outboxd.yaml
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
  # Running instances are restarted: they drain, and the new version goes on.
  [ -z "$before" ] || systemctl try-restart 'outboxd@*.service' || true
fi
