# How the tests of this folder install what they need; read by lib.sh, and by `run` before it starts the first of them.
cache=${PEERS_CACHE:-${CARGO_TARGET_DIR:-$(dirname "${BASH_SOURCE[0]}")/../../target}/peers}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

say() { printf '%4d s: %s\n' "$SECONDS" "$*"; }
can_not() { echo "can't install $1: $2" >&2; exit 3; }

# apt PACKAGE...: Debian packages that are not there yet
apt() {
  local missing=() package root=() words
  for package; do dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || can_not "${missing[*]}" "this is not a Debian"
  [ "$(id -u)" = 0 ] || root=(sudo)
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # one peer at a time; the lists may be old, or not there at all
  local get=(flock -o "$cache/apt.lock" "${root[@]}" apt-get -qq)
  words=$("${get[@]}" install -y --no-install-recommends "${missing[@]}" 2>&1) ||
    words=$({ "${get[@]}" update && "${get[@]}" install -y --no-install-recommends "${missing[@]}"; } 2>&1) ||
    can_not "${missing[*]}" "apt-get says: $(tail -3 <<<"$words")"
}

# need PROGRAM...: programs whose packages have their names; one that comes from elsewhere is as good
need() {
  local program missing=()
  for program; do command -v "$program" >/dev/null || missing+=("$program"); done
  [ ${#missing[@]} -eq 0 ] || apt "${missing[@]}"
}
