#!/bin/sh
# Install into an empty folder, then build and run a C and a C++ program outside the tree with nothing
# but what pkg-config says. Leaves nothing behind.
#
# usage: installed-consumer.sh BUILD_DIR CC CXX
set -eu

build=$1 cc=$2 cxx=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet
pc=$(find "$work/root" -name aiplat.pc)
[ -n "$pc" ] || { echo "aiplat.pc was not installed"; exit 1; }

# The files lie under DESTDIR: let pkg-config prefix only our paths with it.
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
prefix=$(pkg-config --variable=prefix aiplat)
moved() { pkg-config --define-variable=prefix="$work/root$prefix" "$@" aiplat; }
libdir=$(moved --variable=libdir)

cat >"$work/consumer.c" <<'EOF'
#include <aiplat/aiplat.h>
#include <stdio.h>

int main(void)
{
        aip_value *value = NULL;
        aip_error *err = NULL;
        struct aip_buf text = AIP_BUF_INIT(1000);
        if (aip_value_parse(aip_str_of("{\"answer\": [1, 2.5, \"x\"]}"), &value, &err) < 0 ||
            aip_value_print(value, &text, &err) < 0) {
                fprintf(stderr, "%s\n", aip_error_message(err));
                return 1;
        }
        puts(text.p);
        aip_buf_deinit(&text);
        aip_value_unref(value);
        return 0;
}
EOF
cp "$work/consumer.c" "$work/consumer.cc"

expected='{"answer":[1,2.5,"x"]}'
check() {
        got=$(LD_LIBRARY_PATH="$libdir" "$1")
        [ "$got" = "$expected" ] || { echo "$1 printed: $got"; exit 1; }
        echo "$1: ok"
}

# shellcheck disable=SC2046,SC2086 # words are meant to be split
$cc -std=c11 -pedantic -Wall -Wextra -Werror "$work/consumer.c" -o "$work/in-c" \
        $(moved --cflags --libs)
check "$work/in-c"
# shellcheck disable=SC2046,SC2086
$cxx -std=c++17 -Wall -Wextra -Werror "$work/consumer.cc" -o "$work/in-c++" \
        $(moved --cflags --libs)
check "$work/in-c++"
