#!/usr/bin/env bash
# Receivers from Debian packages on loopback, each with the configuration in its folder.
#   daemon.sh rsyslog|syslog-ng|prometheus start|stop|kill DIR
# start waits until every port listens; kill is kill -9, and the next start goes on with the same data. DIR/pki has the certificates,
# DIR/NAME the configuration, log and data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$1 command=$2 top=$3
dir=$top/$name pki=$top/pki
mkdir -p "$dir"
# rsyslogd lies in /usr/sbin
PATH=$PATH:/usr/sbin

pid() { cat "$dir/pid" 2>/dev/null || echo none; }
alive() { grep -qa "$dir/" "/proc/$(pid)/cmdline" 2>/dev/null; }
listens() { grep -q "^ *[0-9]*: 0100007F:$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp; }
configuration() { sed "s#@D@#$dir#g; s#@PKI@#$pki#g" "$here/$name/$1" >"$dir/$1"; }

case $name in
  rsyslog)
    ports="15141 16514 16515 16516"
    daemon() { configuration rsyslog.conf; exec rsyslogd -n -f "$dir/rsyslog.conf" -i NONE; } ;;
  syslog-ng)
    ports="25141 26514 26515"
    daemon() { # unpacked into SYSLOG_NG, since the package conflicts with rsyslog's
      configuration syslog-ng.conf
      local lib=$SYSLOG_NG/usr/lib/syslog-ng
      LD_LIBRARY_PATH=$lib exec "$SYSLOG_NG/usr/sbin/syslog-ng" -F --no-caps -f "$dir/syslog-ng.conf" --module-path "$(echo "$lib"/3.*)" \
        -R "$dir/persist" -p "$dir/own.pid" -c "$dir/ctl"
    } ;;
  prometheus)
    ports=19098
    daemon() { exec prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" --web.listen-address=127.0.0.1:19098; } ;;
  *) echo "unknown: $name" >&2; exit 2 ;;
esac

start() {
  ! alive || return 0
  local port tries=0
  for port in $ports; do # rsyslog would go on without a port that is taken
    if listens "$port"; then echo "port $port of $name is taken by another program" >&2; exit 1; fi
  done
  sh "$here/mkca.sh" "$pki"
  # the limits are a safety net: a receiver gone wild must not fill memory or disk
  (ulimit -v 4000000; ulimit -f 4000000; daemon) >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  for port in $ports; do
    until listens "$port"; do
      tries=$((tries + 1))
      if [ $tries -ge 600 ] || ! kill -0 "$(pid)" 2>/dev/null; then
        echo "$name did not start:" >&2
        tail -20 "$dir/log" >&2
        halt KILL
        exit 1
      fi
      sleep 0.1
    done
  done
}

halt() { # signal; after 20 s it is killed
  local tries=0
  if alive; then kill "-$1" "$(pid)"; fi
  while alive; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || kill -KILL "$(pid)"
    sleep 0.1
  done
  rm -f "$dir/pid"
}

case $command in
  start) start ;;
  stop) halt TERM ;;
  kill) halt KILL ;;
  *) echo "unknown: $command" >&2; exit 2 ;;
esac
