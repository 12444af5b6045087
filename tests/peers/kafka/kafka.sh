#!/usr/bin/env bash
# Apache Kafka on loopback: one KRaft node run from Maven Central's jars.
#   kafka.sh install             fetches the jars, once
#   kafka.sh start|stop|kill DIR waits until it is there, or gone; kill is kill -9, and the next start goes on with the same data
#   kafka.sh topic DIR NAME [--config KEY=VALUE]    makes a topic
#   kafka.sh only DIR NAME USER  nobody but this user may write to a topic from now on
#   kafka.sh read DIR NAME       prints every record of a topic: time, partition, headers, key, value, separated by tabs
# KAFKA_LIBS is the folder of the jars. Users of PLAIN and SCRAM: alice and bob, password s3cret.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
libs=${KAFKA_LIBS:?the folder of the jars}
command=$1 dir=${2:-} ports=2909
shift 2 || shift
# compiling less halves the processor time of a start
java_() { java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel="$level" -cp "$libs/*" "$@"; }
level=error
mark=$dir/server.properties
. "$here/../processes.sh"

start() {
  ! alive || return 0
  local scram=() user
  mkdir -p "$dir"
  sh "$here/../mkca.sh" "$dir/../pki"
  local pki
  pki=$(cd "$dir/../pki" && pwd)
  cat "$pki/server.key" "$pki/server.crt" >"$dir/server.pem"
  sed "s#@D@#$dir#g; s#@PKI@#$pki#g; s#@P@#$ports#g" "$here/server.properties" >"$dir/server.properties"
  if [ ! -f "$dir/log/meta.properties" ]; then
    for user in alice bob; do
      scram+=(--add-scram "SCRAM-SHA-256=[name=$user,password=s3cret]" --add-scram "SCRAM-SHA-512=[name=$user,password=s3cret]")
    done
    java_ kafka.tools.StorageTool format -t "$(java_ kafka.tools.StorageTool random-uuid)" -c "$dir/server.properties" "${scram[@]}" >/dev/null
  fi
  : >"$dir/broker.log" # else the line of the run before is seen
  level=warn
  java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m -Djava.io.tmpdir="$dir" -cp "$libs/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.log.kafka.server=info kafka.Kafka "$dir/server.properties" >"$dir/broker.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  started Kafka 120 "$dir/broker.log" grep -q 'Kafka Server started' "$dir/broker.log"
}

case $command in
  install) # moved into place when whole
    [ -d "$libs" ] || {
      rm -rf "$libs.part"
      timeout 600 mvn -q -B -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$libs.part" >&2
      mv "$libs.part" "$libs"
    } ;;
  start) start ;;
  stop) halt TERM ;;
  kill) halt KILL ;;
  topic) java_ org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:${ports}2 --create --topic "$@" >/dev/null ;;
  only)
    java_ org.apache.kafka.tools.AclCommand --bootstrap-server 127.0.0.1:${ports}2 --add --topic "$1" --allow-principal "User:$2" --operation All >/dev/null ;;
  read) # as many as the partitions hold: it need not wait to be sure that no more come
    records=$(java_ org.apache.kafka.tools.GetOffsetShell --bootstrap-server 127.0.0.1:${ports}2 --topic "^$1\$" | awk -F: '{ sum += $3 } END { print sum + 0 }')
    [ "$records" -gt 0 ] || exit 0
    java_ org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server 127.0.0.1:${ports}2 --topic "$1" --from-beginning --max-messages "$records" \
      --timeout-ms 120000 --formatter-property print.key=true --formatter-property print.headers=true --formatter-property print.timestamp=true \
      --formatter-property print.partition=true 2>"$dir/reader-$1.log" || { cat "$dir/reader-$1.log" >&2; exit 1; } ;;
  *) echo "unknown: $command" >&2; exit 2 ;;
esac
