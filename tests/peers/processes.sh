# How the receivers of this folder are started and ended: by the id in $dir/pid, as long as that is still theirs. Read by daemon.sh, hec/hec.sh and
# kafka/kafka.sh, which set `dir`, the folder of one receiver, and `mark`, a text that stands in its command line and in no other's.
pid() { cat "$dir/pid" 2>/dev/null || echo none; }
alive() { grep -qa "$mark" "/proc/$(pid)/cmdline" 2>/dev/null; }
# listens PORT...: somebody listens on each of them
listens() {
  local port
  for port; do grep -q "^ *[0-9]*: 0100007F:$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp || return 1; done
}
# free PORT...: nobody does; a receiver might go on without the port that it can't have
free() {
  local port
  for port; do
    if listens "$port"; then echo "port $port is taken by another program" >&2; exit 1; fi
  done
}

# started NAME SECONDS LOG COMMAND...: waits until the command is true; else the log's last words, and it is ended
started() {
  local name=$1 tries=$(($2 * 10)) log=$3
  shift 3
  until "$@"; do
    tries=$((tries - 1))
    if [ $tries -le 0 ] || ! kill -0 "$(pid)" 2>/dev/null; then
      echo "$name did not start:" >&2
      tail -20 "$log" >&2
      halt KILL
      exit 1
    fi
    sleep 0.1
  done
}

# halt SIGNAL: after 30 s it is killed
halt() {
  local tries=0
  if alive; then kill "-$1" "$(pid)"; fi
  while alive; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || kill -KILL "$(pid)"
    sleep 0.1
  done
  rm -f "$dir/pid"
}
