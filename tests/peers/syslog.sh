# Tables of [[sink]] that both tests of syslog write; read by them.
reference() { printf '[[sink]]\nname = "file-%s"\nkind = "file"\ncodec = "%s"\npath = "%s/%s.jsonl"\n\n' "$1" "$1" "$work" "$1"; }
sink() { # name, codec, address, further keys
  printf '[[sink]]\nname = "%s"\nkind = "syslog"\ncodec = "%s"\naddress = "%s"\nmax_message = "190 kB"\n%s\n\n' "$1" "$2" "$3" "${4:-}"
}
away() { # sinks: all of them have failed since they last took something
  local sink
  scrape
  for sink; do [ "$(sum auditferry_sink_failures_in_a_row "sink=\"$sink\"")" -gt 0 ] || return 1; done
}
