# TriMQ over AMQP 0-9-1, with the programs in BROKER_BIN, in either profile at its own default: persistent
# messages are confirmed after a sync (level disk) that is shared by all that came meanwhile.
DRIVER=amqp ADDR=127.0.0.1:$((PEERS_PORT + 97))
[ "$PROFILE" = fsync ] && ARGS="-qtype quorum" || ARGS="-qtype classic"
SERVER="${BROKER_BIN:?the directory with mq_server}/mq_server"
prepare() {
  cat >"$D/trimq.toml" <<CONF
data_dir = "$D/data"
run_dir = "$D/run"
log_dir = "$D/log"
listen = "127.0.0.1:$((PEERS_PORT + 98))"
admin_listen = "127.0.0.1:$((PEERS_PORT + 99))"
amqp_listen = "$ADDR"
shm_key_base = $((1001000000 + PEERS_PORT * 10))
CONF
}
start() { exec "$SERVER" run -config "$D/trimq.toml"; }
stop() { "$SERVER" stop 15 -config "$D/trimq.toml"; }
