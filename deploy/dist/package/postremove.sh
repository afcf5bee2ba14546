#!/bin/sh
# Runs after the files are removed. Debian calls this script with "remove", "purge" and others,
# RPM with 0 or 1.
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if [ "$1" = purge ]; then
  rm -f /etc/systemd/system/*.wants/outboxd@*.service
  rm -f /etc/outboxd/*.env /etc/outboxd/outboxd.yaml
  rmdir /etc/outboxd 2>/dev/null || true
  # The data of outboxd's own PostgreSQL may be the only copy of somebody's events.
  for folder in /var/lib/outboxd /var/lib/private/outboxd; do
    [ -d "$folder" ] || continue
    if [ -n "$(find "$folder" -name PG_VERSION -print -quit)" ]; then
      echo "outboxd: $folder has the data of a PostgreSQL, and stays; delete it yourself" >&2
    else
      rm -rf "$folder"
    fi
  done
fi
