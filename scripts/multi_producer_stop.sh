#!/usr/bin/env bash
# Ends what scripts/multi_producer_start.sh has started, and waits for it.
pidfile=${TRIMQ_MULTI_PIDFILE:-${TMPDIR:-/tmp}/trimq-multi-$(id -u).pid}
if ! [ -f "$pidfile" ] || ! pid=$(cat "$pidfile") || ! kill "$pid" 2>/dev/null; then
  echo "multi_producer_stop.sh: nothing runs that multi_producer_start.sh has started" >&2
  exit 1
fi
for _ in $(seq 100); do
  [ -f "$pidfile" ] && kill -0 "$pid" 2>/dev/null || exit 0
  sleep 0.1
done
echo "multi_producer_stop.sh: process $pid does not end" >&2
exit 1
