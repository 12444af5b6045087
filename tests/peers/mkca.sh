#!/bin/sh
# mkca.sh DIR: a private CA with certificates for loopback: server, wronghost, client, and otherclient of another CA. Keys are PKCS#8.
# Does nothing while those in DIR are good for another day.
set -eu
mkdir -p "${1:?DIR}" && cd "$1"
[ -f made ] && openssl x509 -in server.crt -noout -checkend 86400 >/dev/null && exit 0
ca() { # name
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 30 -subj "/CN=$1 of a test" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$1.key" -out "$1.crt" 2>/dev/null
}
leaf() { # name, CA, names that it is for, usage
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=$1" -keyout "$1.sec1" -out "$1.csr" 2>/dev/null
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$4" "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -sha256 -days 20 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  openssl pkcs8 -topk8 -nocrypt -in "$1.sec1" -out "$1.key"
  rm -f "$1.sec1" "$1.csr" "$1.ext"
}
ca ca
ca otherca
leaf server ca 'DNS:localhost,IP:127.0.0.1' serverAuth
leaf wronghost ca 'DNS:wrong.invalid' serverAuth
leaf client ca 'DNS:client.test' clientAuth
leaf otherclient otherca 'DNS:client.test' clientAuth
chmod 600 ./*.key
touch made
