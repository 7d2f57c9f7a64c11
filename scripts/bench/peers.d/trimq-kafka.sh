# TriMQ over Kafka's protocol, with the programs in BROKER_BIN. default: acknowledged from the page cache
# (level page), as Kafka does. fsync: a sync before each acknowledgement (level disk, TriMQ's own default),
# shared by all that came meanwhile.
DRIVER=kafka ADDR=127.0.0.1:$((PEERS_PORT + 94))
SERVER="${BROKER_BIN:?the directory with mq_server}/mq_server"
prepare() {
  local level=page
  [ "$PROFILE" != fsync ] || level=disk
  cat >"$D/trimq.toml" <<CONF
data_dir = "$D/data"
run_dir = "$D/run"
log_dir = "$D/log"
listen = "127.0.0.1:$((PEERS_PORT + 95))"
admin_listen = "127.0.0.1:$((PEERS_PORT + 96))"
kafka_listen = "$ADDR"
kafka_partitions = 1
default_level = "$level"
group_initial_delay_ms = 0
shm_key_base = $((1000000000 + PEERS_PORT * 10))
CONF
}
start() { exec "$SERVER" run -config "$D/trimq.toml"; }
stop() { "$SERVER" stop 15 -config "$D/trimq.toml"; }
