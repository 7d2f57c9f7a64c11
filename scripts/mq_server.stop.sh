#!/usr/bin/env bash
# Signals the broker: mq_server.stop.sh SIGNAL [TIER] [-config FILE] [SETTINGS]
# SIGNAL as in kill: 15 and 2 drain and stop, 1 reload, 3 write state and go on, 10 reopen logs, 12 upgrade, 9 kill.
bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/../bin" 2>/dev/null && pwd) && [ -x "$bin/mq_server" ] || {
  echo "mq_server.stop.sh: the programs are not built: run make first" >&2
  exit 2
}
exec "$bin/mq_server" stop "$@"
