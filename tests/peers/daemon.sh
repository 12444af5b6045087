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
mark=$dir/
. "$here/processes.sh"
# rsyslogd lies in /usr/sbin
PATH=$PATH:/usr/sbin

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
  free $ports
  sh "$here/mkca.sh" "$pki"
  # the limits are a safety net: a receiver gone wild must not fill memory or disk
  (ulimit -v 4000000; ulimit -f 4000000; daemon) >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  started "$name" 60 "$dir/log" listens $ports
}

case $command in
  start) start ;;
  stop) halt TERM ;;
  kill) halt KILL ;;
  *) echo "unknown: $command" >&2; exit 2 ;;
esac
