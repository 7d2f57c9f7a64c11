#!/usr/bin/env bash
# Shows what runs: mq_server.status.sh [json] [-config FILE] [SETTINGS]
# Exit code 0: all serve, 3: nothing runs, 1: anything between.
bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/../bin" 2>/dev/null && pwd) && [ -x "$bin/mq_server" ] || {
  echo "mq_server.status.sh: the programs are not built: run make first" >&2
  exit 2
}
exec "$bin/mq_server" status "$@"
