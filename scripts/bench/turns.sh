# Sourced by the comparisons with other brokers: compare, turn by turn, on a machine whose memory is warm.
# Uses rounds, each, profile, PEERS and PEERS_DIR of the script that sources it.

# A virtual machine may give its free memory back to its host, and then the first touch of a page costs many
# times what a copy into it costs (docs/performance.md): what is measured would be the machine's, not the
# broker's. So a file that nobody needs fills the page cache, as on a machine that has run for days. Before
# each turn what was pushed out of it is read back, because the files of the turn before have gone.
export PEERS_DIR=${PEERS_DIR:-${TMPDIR:-/tmp}/peers}
filler=$PEERS_DIR/filler
warm() {
  local free
  free=$(awk '/^MemFree:/ { print int($2 / 1024) - 1024 }' /proc/meminfo)
  if [ ! -e "$filler" ]; then
    [ "$free" -gt 0 ] || return 0
    dd if=/dev/zero of="$filler" bs=1M count="$free" conv=fsync status=none
  fi
  cat "$filler" >/dev/null
}

# compare TITLE BASE PEER ARGUMENTS... prints the medians of both and their ratio.
compare() {
  local title=$1 base=$2 peer=$3 out round turn
  shift 3
  out=$(mktemp "$PEERS_DIR/results/turns-XXXXXX.jsonl")
  echo "== $title"
  for ((round = 1; round <= rounds; round++)); do
    for turn in "$base" "$peer"; do
      warm
      "$PEERS/compare.sh" -r 1 -p "$profile" -o "$out" "$turn" -- -t "${each}s" "$@" >/dev/null
    done
  done
  "$PEERS_DIR/bin/bench" table -base "$base" "$out"
}
