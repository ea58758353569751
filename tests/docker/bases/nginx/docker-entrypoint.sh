#!/bin/sh
# Runs what is in /docker-entrypoint.d by number, as the official image does: programs *.sh, and *.envsh
# for variables of those that come later. One that fails ends the container.
set -e

configure() {
    for part in $(find /docker-entrypoint.d -follow -type f | sort -V); do
        if [ ! -x "$part" ]; then
            echo "$0: Ignoring $part, not executable"
            continue
        fi
        # shellcheck disable=SC1090 # Nobody knows what is there.
        case $part in
            *.envsh) . "$part" ;;
            *.sh) "$part" ;;
            *) echo "$0: Ignoring $part" ;;
        esac
    done
}

if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    (configure)
fi
exec "$@"
