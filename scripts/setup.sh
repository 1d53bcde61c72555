# Sourced by scripts/test and scripts/demo: gets ready what they need, and says what it does.
#   setup_npm               npm packages, Node.js 24 among them; afterwards `node` is that one
#   setup_packages "$yes"   Debian packages for real containers, where that can be; $yes: without asking. Fails only in
#                           continuous integration, as root, when one cannot be installed
# Both are called in the root of the repository.

# Package, and what is left out without it.
SETUP_PACKAGES='
runc            real containers
conmon          real containers
iproute2        hosts in network namespaces
nftables        container networking
umoci           images made of Debian packages
mmdebstrap      images made of Debian packages
bind9-dnsutils  DNS queries with dig
redis-tools     queries of a real redis
busybox-static  container tests
procps          counting of processes
gcc             disks that crash or refuse, in tests
libc6-dev       disks that crash or refuse, in tests
'

setup_say() { printf '%s\n' "setup: $*" >&2; }

setup_npm() {
  local lock stamp=node_modules/.shoal-lock
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    setup_say 'needs Node.js 20 or newer with npm: install them and run this again'
    return 1
  fi
  if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    setup_say "needs Node.js 20 or newer, and this is $(node --version)"
    return 1
  fi
  lock=$(sha256sum package-lock.json | cut -d' ' -f1)
  # Installed by hand, and not since the lock has changed: good as it is.
  if [ ! -e "$stamp" ] && [ node_modules/.package-lock.json -nt package-lock.json ]; then
    printf '%s\n' "$lock" >"$stamp" 2>/dev/null || true
  fi
  if [ ! -x node_modules/.bin/node ] || [ "$(cat "$stamp" 2>/dev/null)" != "$lock" ]; then
    setup_say 'npm packages are missing or stale: npm ci (about 500 MB, a minute)'
    npm ci --no-audit --no-fund --loglevel=error >&2 || {
      setup_say 'npm ci failed'
      return 1
    }
    rm -rf .tap
    printf '%s\n' "$lock" >"$stamp"
  fi
  PATH=$PWD/node_modules/.bin:$PATH
  export PATH
}

# Names of the packages that are not installed.
setup_missing() {
  local package why
  while read -r package why; do
    [ -n "$package" ] || continue
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" = 'ii ' ] || printf '%s ' "$package"
  done <<<"$SETUP_PACKAGES"
}

setup_packages() {
  local yes=${1:-} missing answer package why
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    setup_say 'no apt here: what needs Debian packages and is not there is left out'
    return 0
  fi
  missing=$(setup_missing)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" = 0 ]; then
    if [ -z "$yes" ] && [ "${CI:-}" != true ] && [ -t 0 ] && [ -t 2 ]; then
      read -r -p "setup: install these Debian packages: ${missing% }? [y/N] " answer
      case $answer in [yY]*) yes=-y ;; esac
    elif [ "${CI:-}" = true ]; then
      yes=-y
    fi
    if [ -n "$yes" ]; then
      setup_say "apt-get install ${missing% }"
      # shellcheck disable=SC2086 # one word for each package
      {
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
      } >&2 || setup_say 'apt-get failed'
      missing=$(setup_missing)
      # Where nobody reads what was left out, it would be taken for tested.
      if [ -n "$missing" ] && [ "${CI:-}" = true ]; then
        setup_say "could not install ${missing% }"
        return 1
      fi
    fi
  fi
  [ -n "$missing" ] || return 0
  setup_say 'going on without these Debian packages (as root, -y installs them); left out is:'
  while read -r package why; do
    case " $missing" in *" $package "*) setup_say "  $package: $why" ;; esac
  done <<<"$SETUP_PACKAGES"
}
