#!/usr/bin/env bash
# Starts producers that send messages in a loop, and consumers that share the work, until Ctrl-C or
# scripts/multi_producer_stop.sh.
# usage: multi_producer_start.sh [PRODUCERS [LENGTH [CONSUMERS]]]     1 producer, 10 bytes, 2 consumers
set -u
producers=${1:-1} length=${2:-10} consumers=${3:-2}
for n in "$producers" "$length" "$consumers"; do
  case $n in '' | *[!0-9]*) echo "multi_producer_start.sh: $n is no number; usage: multi_producer_start.sh [PRODUCERS [LENGTH [CONSUMERS]]]" >&2; exit 2 ;; esac
done
if [ "$producers" -gt 100 ] || [ "$consumers" -gt 100 ]; then
  echo "multi_producer_start.sh: at most 100 producers and 100 consumers" >&2
  exit 2
fi
bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/../bin" 2>/dev/null && pwd) && [ -x "$bin/mq_multi_producer" ] || {
  echo "multi_producer_start.sh: the programs are not built: run make first" >&2
  exit 2
}
pidfile=${TRIMQ_MULTI_PIDFILE:-${TMPDIR:-/tmp}/trimq-multi-$(id -u).pid}
if [ -f "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; then
  echo "multi_producer_start.sh: it runs already, as process $(cat "$pidfile"); scripts/multi_producer_stop.sh ends it" >&2
  exit 1
fi
pids=()
ended=
end() {
  ended=1
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
}
trap end INT TERM
echo $$ >"$pidfile"
for ((i = 0; i < consumers; i++)); do "$bin/mq_multi_consumer" & pids+=($!); done
for ((i = 0; i < producers; i++)); do "$bin/mq_multi_producer" "$length" & pids+=($!); done
echo "$producers producers of messages of $length bytes, $consumers consumers; Ctrl-C or scripts/multi_producer_stop.sh ends them"
status=0
for pid in "${pids[@]}"; do
  wait "$pid" || { [ -n "$ended" ] || { status=1; end; }; } # one that fails takes the others along
done
wait
rm -f "$pidfile"
exit $status
