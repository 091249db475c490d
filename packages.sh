# Installing Debian packages, for ./quickstart and ./check. Sourced, not run.

# The packages among the arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "Not root, and there is no sudo. As root, run: $*" >&2
        exit 1
    fi
}

# Install what is missing; says what, and does nothing when nothing is.
install_packages() {
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "This is not Debian. Install what corresponds to:" $missing >&2
        exit 1
    fi
    echo "Installing with apt:" $missing
    as_root apt-get -qq update
    # Servers that come along are for private use by the tests: Debian must not start them.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 install $missing >/dev/null
}

build_packages="gcc libc6-dev meson ninja-build pkg-config uuid-dev libcjson-dev libuv1-dev libpq-dev
    libsqlite3-dev librabbitmq-dev libhiredis-dev libcurl4-openssl-dev libmicrohttpd-dev python3"
