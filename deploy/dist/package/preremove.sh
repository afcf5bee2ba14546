#!/bin/sh
# Runs before the files are removed. Debian calls this script with "remove" or "upgrade", RPM
# with 0 or 1.
set -e
case "$1" in
  remove | 0)
    if [ -d /run/systemd/system ]; then
      systemctl stop 'outboxd@*.service' || true
      systemctl disable outboxd@.service >/dev/null 2>&1 || true
    fi
    ;;
esac
