#!/usr/bin/env bash
# Starts the broker (persistsrv, logicsrv, connsrv and their supervisor) and waits until it serves.
# usage: mq_server.start.sh [-config FILE] [SETTINGS]     settings: mq_server.start.sh -help
bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/../bin" 2>/dev/null && pwd) && [ -x "$bin/mq_server" ] || {
  echo "mq_server.start.sh: the programs are not built: run make first" >&2
  exit 2
}
exec "$bin/mq_server" start "$@"
