#!/usr/bin/env bash
# An independent Splunk HEC receiver on loopback: Tenzir's accept_splunk, which stores what it took as NDJSON.
#   hec.sh install           puts the program into TENZIR, once (175 MB to fetch, 564 MiB on disk)
#   hec.sh start DIR PORT [CERTIFICATE KEY]     waits until it listens; what it stores: DIR/events.ndjson, over restarts
#   hec.sh stop|kill DIR     SIGTERM (it writes what it has in hand first), or kill -9 (what it has answered with 200 may be lost)
# TENZIR is the folder of the program, HEC_TOKEN the only token that it takes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
engine=${TENZIR:?the folder of the program}/tenzir/bundled/libexec/tenzir-engine
command=$1 dir=${2:-}
mark=$dir/hec.tql
. "$here/../processes.sh"

start() {
  ! alive || return 0
  local port=$1 host=127.0.0.1:$1 tls=''
  free "$port"
  if [ $# -eq 3 ]; then host=https://$host tls=", tls={certfile: \"$2\", keyfile: \"$3\"}"; fi
  mkdir -p "$dir"
  printf 'accept_splunk "%s", hec_token="%s"%s\nto_file "%s/events.ndjson", append=true {\n  write_ndjson\n}\n' "$host" "$HEC_TOKEN" "$tls" "$dir" >"$dir/hec.tql"
  # without the option of caf it would also listen on a random port of every address
  HOME=$dir TMPDIR=$dir XDG_STATE_HOME=$dir/state XDG_CACHE_HOME=$dir/cache "$engine" --bare-mode --color=never \
    --caf.middleman.enable-automatic-connections=false -d "$dir/state" --cache-directory="$dir/cache" -f "$dir/hec.tql" >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  started "the HEC receiver" 60 "$dir/log" listens "$port"
}

case $command in
  install)
    [ -x "$engine" ] || {
      python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps --no-compile --require-hashes \
        -r "$here/requirements.txt" --upgrade --target "$TENZIR" >&2
      chmod +x "$engine"
    } ;;
  start) shift 2; start "$@" ;;
  stop) halt TERM ;;
  kill) halt KILL ;;
  *) echo "unknown: $command" >&2; exit 2 ;;
esac
