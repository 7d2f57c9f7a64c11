#!/usr/bin/env bash
# RabbitMQ and TriMQ over AMQP 0-9-1, side by side: the same client (amqp091-go), the same settings, turn by
# turn, each freshly started: persistent messages, publisher confirms, acknowledgements. Prints medians, and
# ratios to RabbitMQ.
# usage: PEERS=DIR [ROUNDS=3] [SECONDS_EACH=10] [PROFILE=default|fsync] [BACKLOG_MB=1000] [PERF_TEST=yes|no] amqp.sh
# PEERS is the directory of the comparison (compare.sh, up.sh …), installed by its install.sh; PEERS_DIR and
# PEERS_PORT are its own. RabbitMQ's PerfTest comes at the end, where the comparison has installed it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PEERS:?the directory of the comparison: compare.sh, up.sh, down.sh}"
export BROKER_BIN=$PWD/bin PEERS_EXTRA=$PWD/scripts/bench/peers.d
rounds=${ROUNDS:-3} each=${SECONDS_EACH:-10} profile=${PROFILE:-default} backlog=${BACKLOG_MB:-1000}

. scripts/bench/turns.sh
trap 'rm -f "$filler"' EXIT
for size in 250 4096; do
  compare "publish with confirms, then consume with acknowledgements, $size bytes" rabbitmq trimq-amqp -w push -size "$size"
done
compare "20 queues bound to a fanout exchange, 4096 bytes" rabbitmq trimq-amqp -w fanout
compare "a backlog of $backlog MB, 1024 bytes each, grows and is worked off" rabbitmq trimq-amqp -w backlog -backlog-mb "$backlog"
compare "latency at 2000 messages a second of 250 bytes" rabbitmq trimq-amqp -w rate -rate 2000 -size 250

. "$PEERS/env.sh"
[ "${PERF_TEST:-yes}" = yes ] || exit 0
[ -d "$PEERS_DIR/lib/perf-test" ] || { echo "PerfTest is left out: the comparison has not installed it"; exit 0; }
for peer in rabbitmq trimq-amqp; do
  load_peer "$peer" "$profile"
  warm
  "$PEERS/up.sh" "$peer" "$profile"
  trap '"$PEERS/down.sh" "$peer"; rm -f "$filler"' EXIT
  for size in 250 4096; do
    echo "$peer: PerfTest, persistent, at most 1000 unconfirmed, $size bytes:"
    CLASSPATH="$PEERS_DIR/lib/perf-test/*" java -Xmx512m com.rabbitmq.perf.PerfTest --uri "amqp://guest:guest@$ADDR/%2f" --queue perf \
      --auto-delete false --flag persistent --confirm 1000 --qos 500 --multi-ack-every 100 --size "$size" --time "$each" | tail -3
  done
  "$PEERS/down.sh" "$peer"
  trap 'rm -f "$filler"' EXIT
done
