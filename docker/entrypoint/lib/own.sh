# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# The configuration that somebody else has written.

# The nginx.conf that NGINX is going to read: that of its option -c.
nginx_conf() {
    path=$(tr '\0' '\n' < "/proc/$PPID/cmdline" 2>/dev/null | awk '
        last == "-c" { print; exit }
        /^-c./ { print substr($0, 3); exit }
        { last = $0 }')
    case $path in
        '') echo /etc/nginx/nginx.conf ;;
        /*) echo "$path" ;;
        *) echo "/etc/nginx/$path" ;;
    esac
}

is_generated() {
    [ -e "$CONF" ] && [ "$(head -n 1 "$CONF")" = "$FIRST_LINE" ]
}

# Sets `own`: what configuration.awk says of all that is not generated.
read_own() {
    skip=
    ! is_generated || skip=$CONF
    own=$(awk -v root="$NGINX_CONF" -v skip="$skip" -f "$LIB/configuration.awk" 2>/dev/null || :)
}

# Prints the lines of `own` of this kind.
own() {
    echo "$own" | awk -F '\t' -v kind="$1" '$1 == kind'
}

# What obtains certificates: servers with acme_dns, and files with domains.
users() {
    echo "$own" | awk -F '\t' '
        ($1 == "server" && $5 != "-" && ($8 == "-" || $3 ~ /,ssl|\+ssl|quic/)) ||
        ($1 == "define" && $2 == "acme_dns_domains")'
}

# Whether the configuration or one of its templates speaks of this variable.
is_mentioned() {
    dir=${NGINX_CONF%/*}
    grep -rqsw -- "$1" "${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}" "$NGINX_CONF" "$dir/conf.d"
}

# Whether another server is the default one of all addresses for this port.
has_default_server() {
    own server | awk -F '\t' -v port="$1" '
        $2 == "http" {
            n = split($3, listens, " ")
            for (i = 1; i <= n; i++) {
                split(listens[i], part, ",")
                if (part[2] == port && part[1] ~ /^(\*|0\.0\.0\.0|\[::\])$/ &&
                    ("+" part[3] "+") ~ /\+default(_server)?\+/) found = 1
            }
        }
        END { exit !found }'
}

# Whether http itself has this directive.
http_has() {
    own http | cut -f 2 | grep -qx "$1"
}

# An nginx.conf of somebody's own has to load the module and to read what is generated.
check_nginx_conf() {
    [ -r "$NGINX_CONF" ] || return 0
    if ! own main | grep -q 'load_module.*ngx_http_acme_dns_module' &&
        ! tr '\0' ' ' < "/proc/$PPID/cmdline" 2>/dev/null | grep -q ngx_http_acme_dns_module; then
        fail "$NGINX_CONF does not load the module: its first line must be \"load_module modules/ngx_http_acme_dns_module.so;\""
    fi
    patterns=$(own include | cut -f 2)
    while read -r pattern; do
        # shellcheck disable=SC2254 # It is one.
        case $CONF in
            $pattern) return ;;
        esac
    done <<PATTERNS
$patterns
PATTERNS
    fail "$NGINX_CONF does not include $CONF, which is generated: its block http needs the line \"include $OUTPUT_DIR/*.conf;\""
}

# Certificates that nobody asks for are not obtained.
notice_nothing_used() {
    [ -z "$(users)" ] || return 0
    warn "nothing uses acme_dns, so no certificate is obtained or renewed: set ACME_DNS_DOMAINS, or write \"acme_dns on;\" into a server"
}
