#!/usr/bin/env bash
# Apache Kafka and TriMQ over Kafka's protocol, side by side: the same client, the same settings, turn by
# turn, each freshly started. Prints medians, and ratios to Kafka.
# usage: PEERS=DIR [ROUNDS=3] [SECONDS_EACH=10] [PROFILE=default|fsync] [RECORDS=1000000] kafka.sh
# PEERS is the directory of the comparison (compare.sh, up.sh …), installed by its install.sh; PEERS_DIR and
# PEERS_PORT are its own. RECORDS=0 leaves Kafka's own performance tools out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PEERS:?the directory of the comparison: compare.sh, up.sh, down.sh}"
export BROKER_BIN=$PWD/bin PEERS_EXTRA=$PWD/scripts/bench/peers.d
rounds=${ROUNDS:-3} each=${SECONDS_EACH:-10} profile=${PROFILE:-default} records=${RECORDS:-1000000}

. scripts/bench/turns.sh
trap 'rm -f "$filler"' EXIT
for compression in none zstd; do
  for size in 250 1024; do
    compare "produce (acks=all) and consume, $size bytes, $compression" kafka trimq-kafka -w push -size "$size" -compress "$compression"
  done
done
compare "end-to-end latency at 5000 messages a second of 250 bytes" kafka trimq-kafka -w rate -rate 5000 -size 250

[ "$records" -gt 0 ] || exit 0
. "$PEERS/env.sh"
tool() { CLASSPATH="$PEERS_DIR/lib/kafka/*" java -Xmx512m org.apache.kafka.tools."$@" 2>/dev/null; }
for peer in kafka trimq-kafka; do
  load_peer "$peer" "$profile"
  warm
  "$PEERS/up.sh" "$peer" "$profile"
  trap '"$PEERS/down.sh" "$peer"; rm -f "$filler"' EXIT
  tool TopicCommand --bootstrap-server "$ADDR" --create --topic perf --partitions 1 >/dev/null
  for size in 250 1024; do
    for compression in none zstd; do
      echo "$peer: kafka-producer-perf-test, $size bytes, $compression:"
      tool ProducerPerformance --topic perf --num-records "$records" --record-size "$size" --throughput -1 --bootstrap-server "$ADDR" \
        --command-property acks=all linger.ms=5 batch.size=1000000 buffer.memory=134217728 compression.type="$compression" | tail -1
    done
  done
  echo "$peer: kafka-consumer-perf-test:"
  tool ConsumerPerformance --bootstrap-server "$ADDR" --topic perf --num-records $((4 * records)) | tail -1
  "$PEERS/down.sh" "$peer"
  trap 'rm -f "$filler"' EXIT
done
