# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# The way to an application.

# Where a URL leads: sets `upstream`, `host`, and `resolver` if the host is to be looked up by NGINX. The first
# argument is the variable that has the URL.
choose_upstream() {
    check_url "$1" "$2" http
    upstream=${2%/}
    resolver=
    [ -n "$upstream" ] || return 0
    case $upstream in
        *[?]*) refuse "$1" "$upstream" 'has a query' ;;
    esac
    authority=${upstream#*://}
    path=${authority#"${authority%%/*}"}
    authority=${authority%"$path"}
    # NGINX looks at a variable only when it is used.
    echo "$authority" | grep -Eq '^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:[0-9]+)?$' ||
        refuse "$1" "$upstream" 'is not the URL of a host'
    host=$(echo "$authority" | sed 's/:[0-9]*$//')
    check_loopback "$1"
    # An address needs no lookup.
    case $host in
        '['*) return 0 ;;
        *[!0-9.]*) ;;
        *) return 0 ;;
    esac
    # Names in /etc/hosts are known to no DNS server, and do not change while the container runs.
    address=$(awk -v host="$host" '$1 ~ /^[0-9.]+$/ {
        for (i = 2; i <= NF && $i !~ /^#/; i++) if ($i == host) { print $1; exit } }' /etc/hosts)
    if [ -n "$address" ]; then
        upstream="${upstream%%://*}://$address${authority#"$host"}$path"
        return 0
    fi
    choose_resolver "$1"
}

# As 15-local-resolvers.envsh of the official image finds them, whose variable goes first.
choose_resolver() {
    resolver=${NGINX_LOCAL_RESOLVERS:-$(awk 'BEGIN { ORS = " " } $1 == "nameserver" && $2 !~ /%/ {
        if ($2 ~ ":") print "[" $2 "]"; else print $2 }' /etc/resolv.conf)}
    case $resolver in
        *[!A-Fa-f0-9.:\[\]\ ]*) refuse NGINX_LOCAL_RESOLVERS "$resolver" 'is not a list of addresses' ;;
        '' | ' ') fail "$1: there is no nameserver in /etc/resolv.conf to look up \"$host\", use an address" ;;
    esac
}

# Whether a program listens on a port.
listens() {
    hexadecimal=$(printf '%04X' "$1")
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$hexadecimal" '
        { sub(/.*:/, "", $2) } $2 == port && $4 == "0A" { found = 1 } END { exit !found }'
}

# Loopback addresses are those of the container. Another program answers there only if it has the same
# network: in a pod of Kubernetes, or where it listens already.
check_loopback() {
    case $(echo "$host" | tr '[:upper:]' '[:lower:]') in
        localhost | *.localhost | 127.* | 0.0.0.0 | '[::1]' | '[::]' | '[::ffff:127.'*) ;;
        *) return 0 ;;
    esac
    number=${authority##*:}
    case $number in
        '' | *[!0-9]*)
            number=80
            [ "${upstream%%:*}" = http ] || number=443
            ;;
    esac
    [ -z "${KUBERNETES_SERVICE_HOST:-}" ] || return 0
    ! listens "$number" || return 0
    fail "$1: $(show "$upstream") is this container itself, where nothing listens on port $number: name the application's container in a common network, such as http://app:$number, or http://host.docker.internal:$number for the host (with --add-host host.docker.internal:host-gateway)"
}

# The location of an application, or of files where there is none.
location() {
    echo
    echo "    location / {"
    if [ -z "$upstream" ]; then
        echo "        root  /usr/share/nginx/html;"
        echo "        index index.html index.htm;"
    else
        cat <<CONF
        # A variable, so that NGINX starts before the application does and notices when its address
        # changes.
        set \$acme_dns_upstream $upstream;
        proxy_pass \$acme_dns_upstream\$request_uri;
CONF
        # Docker gives answers a lifetime of ten minutes, containers often live shorter.
        [ -z "$resolver" ] || echo "        resolver ${resolver% } valid=10s${no_ipv6:+ ipv6=off};"
        case $upstream in
            https:*) printf '        proxy_ssl_server_name on;\n        proxy_ssl_name %s;\n' "$host" ;;
        esac
        [ -z "$hsts" ] || echo "        proxy_hide_header Strict-Transport-Security;"
        sed -n 's/^[^#]/        &/p' "$LIB/acme_dns_proxy.conf"
    fi
    echo "    }"
}
