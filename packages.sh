# Installing Debian packages, for ./quickstart and ./check. Sourced, not run.

build_packages="gcc libc6-dev meson ninja-build pkg-config uuid-dev libcjson-dev libuv1-dev libpq-dev
    libsqlite3-dev librabbitmq-dev libhiredis-dev libcurl4-openssl-dev libmicrohttpd-dev python3
    ca-certificates"

# What root does. Servers that come along are for private use by the tests: Debian neither starts
# them now (policy-rc.d is how a package's scripts are told so) nor with the machine.
install_script='
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap "rm -f $policy" EXIT
    trap "exit 130" HUP INT TERM
    printf "#!/bin/sh\nexit 101\n" >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "$@"
for package in "$@"; do
    case $package in
    postgresql | rabbitmq-server | redis-server)
        if command -v systemctl >/dev/null; then systemctl --quiet disable "$package"; fi
        ;;
    esac
done
'

# The packages among the arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done
}

# Install what is missing; says what, and does nothing when nothing is.
install_packages() {
    local missing output sudo=
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "This is not Debian. Install what corresponds to:" $missing >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        sudo=$(command -v sudo) || {
            echo "Packages are missing, this is not root, and there is no sudo. As root, run:" >&2
            echo "    apt-get update && apt-get install --no-install-recommends" $missing >&2
            exit 1
        }
    fi
    echo "Installing with apt${sudo:+, through sudo}:" $missing
    output=$($sudo sh -c "$install_script" install $missing 2>&1) || {
        echo "$output" >&2
        echo "The packages could not be installed." >&2
        exit 1
    }
}
