# What the tests of this folder share; read by each peer's `test`. Processes are ended by their ids, whatever happens.
set -euo pipefail
peers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$peers/install.sh"
need python3 curl
work=$(mktemp -d "${TMPDIR:-/tmp}/auditferry-peer.XXXXXX")
agent='' simulator='' failed=0 stops=()
# the agent's /metrics, a free port; the peers' own ports stand in their configurations
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
export SIMULATED_SECRET=simulated-secret HEC_TOKEN=00000000-0000-4000-8000-000000000001

end() {
  local code=$? stop tries=0
  for process in $agent $simulator; do kill "$process" 2>/dev/null || true; done
  for stop in "${stops[@]}"; do eval "$stop" || true; done
  while kill -0 $agent $simulator 2>/dev/null && [ $tries -lt 40 ]; do tries=$((tries + 1)); sleep 0.5; done
  for process in $agent $simulator; do kill -KILL "$process" 2>/dev/null || true; done
  if [ "$code" != 0 ] && [ -s "$work/agent.log" ]; then echo "the agent's last words:"; tail -15 "$work/agent.log"; fi
  if [ "$code" != 0 ] && [ -s "$work/metrics" ]; then
    echo "owed and unfetched, at the last look:"
    grep -E '^auditferry_(sink_contents_owed|contents_unfetched)' "$work/metrics" || true
  fi
  if [ -n "${PEERS_KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
  exit "$code"
}
trap end EXIT
trap 'exit 130' INT TERM

must() { # words, command...
  local words=$1
  shift
  if "$@"; then echo "ok: $words"; else echo "FAILED: $words"; failed=1; fi
}

# until_true SECONDS WORDS COMMAND...: tried every half second
until_true() {
  local limit=$((SECONDS + $1)) words=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $limit ] || { echo "FAILED: waited in vain until $words" >&2; exit 1; }
    sleep 0.5
  done
}

# simulate ARG...: a service that publishes; at the end it writes which records an agent has to deliver
simulate() {
  # the answers of a service before this one are no answers: what is started below empties the files later than the first look at them
  rm -f "$work/source.toml" "$work/simulator.log"
  "$AUDITFERRY" simulate --listen 127.0.0.1:0 "$@" --report "$work/report.json" --report-ids >"$work/source.toml" 2>"$work/simulator.log" &
  simulator=$!
  until_true 60 "the simulated service listens" grep -qs '^poll' "$work/source.toml"
}

# configure: the agent's configuration from [[sink]] tables on standard input
configure() {
  {
    printf '[agent]\nstate_dir = "%s/state"\nlisten = "127.0.0.1:%s"\n' "$work" "$port"
    sed 's/^poll .*/poll = "1s"/' "$work/source.toml"
    cat
  } >"$work/auditferry.toml"
  "$AUDITFERRY" check --config "$work/auditferry.toml" >"$work/check.out" 2>&1 || { cat "$work/check.out"; exit 1; }
}

run_agent() {
  "$AUDITFERRY" run --config "$work/auditferry.toml" 2>>"$work/agent.log" &
  agent=$!
  until_true 60 "the agent answers" answers
}

# the agent, and no other program on its port
answers() {
  kill -0 "$agent" 2>/dev/null || { echo "FAILED: the agent ended at once" >&2; exit 1; }
  scrape
}

scrape() { curl -sf --max-time 20 "http://127.0.0.1:$port/metrics" >"$work/metrics.next" && mv "$work/metrics.next" "$work/metrics"; }

# sum NAME [LABEL="VALUE"]: of all series of a metric in the last scrape
sum() { awk -v name="$1" -v label="${2:-}" '/^[^#]/ { split($1, part, "{"); if (part[1] == name && index($1, label)) sum += $2 } END { printf "%d\n", sum }' "$work/metrics"; }

# delivered_at_least N SINK: true once the sink has taken so many
delivered_at_least() { scrape && [ "$(sum auditferry_sink_delivered_total "sink=\"$2\"")" -ge "$1" ]; }
waits_for_sink() { scrape && [ "$(sum auditferry_sink_contents_owed "sink=\"$1\"")" -gt 1 ]; }
nothing_owed() { scrape && [ "$(sum auditferry_sink_contents_owed)" = 0 ] && [ "$(sum auditferry_contents_unfetched)" = 0 ]; }

# stop_agent: its exit code; after 60 s it is killed, and that is none
stop_agent() {
  local process=$agent code=0
  kill "$process"
  (sleep 60; kill -KILL "$process") >/dev/null 2>&1 &
  local guard=$!
  wait "$process" || code=$?
  kill "$guard" 2>/dev/null || true
  agent=''
  return "$code"
}

# finish SECONDS: the service publishes nothing more, everything is delivered, agent and service end cleanly
finish() {
  local code=0 listed
  kill -USR1 "$simulator"
  until_true 30 "the service publishes nothing more" grep -qs 'nothing more is published' "$work/simulator.log"
  # a listing that begins from now on has everything: the second that ends
  for _ in 1 2; do
    listed=$(date +%s.%N)
    until_true 120 "the service was listed again" listed_since "$listed"
  done
  until_true "$1" "everything was delivered" nothing_owed
  say "everything was delivered"
  stop_agent || code=$?
  must "the agent stops cleanly (exit code $code)" [ "$code" = 0 ]
  code=0
  "$AUDITFERRY" status --config "$work/auditferry.toml" >"$work/status.out" 2>&1 || code=$?
  must "the books close" [ "$code" = 0 ]
  kill "$simulator"
  wait "$simulator" || true
  simulator=''
}
listed_since() { scrape && awk -v since="$1" -v now="$(date +%s.%N)" '/^auditferry_stream_listing_age_seconds/ { listed = now - $2 > since } END { exit !listed }' "$work/metrics"; }

# compare ARG...: see compare.py
compare() { python3 "$peers/compare.py" "$@" || failed=1; }
