# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# Servers for the certificates of ACME_DNS_DOMAINS.

# What Cloudflare publishes at https://www.cloudflare.com/ips/.
CLOUDFLARE_NETWORKS='173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18 108.162.192.0/18
190.93.240.0/20 188.114.96.0/20 197.234.240.0/22 198.41.128.0/17 162.158.0.0/15 104.16.0.0/13 104.24.0.0/14
172.64.0.0/13 131.0.72.0/22 2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32
2a06:98c0::/29 2c0f:f248::/32'

# The listen directives of a port, with its parameters.
listen() {
    echo "    listen $1;"
    [ -n "$no_ipv6" ] || echo "    listen [::]:$1;"
}

# Whether this NGINX is at least of this version.
nginx_is() {
    version=$(nginx -v 2>&1)
    version=${version#*/}
    oldest=$(printf '%s\n%s\n' "$1" "${version%% *}" | sort -V | head -n 1)
    [ "$oldest" = "$1" ]
}

# The value of Strict-Transport-Security: a year where the variable only says yes.
choose_hsts() {
    hsts=$(get ACME_DNS_HSTS)
    case $hsts in
        '' | *[!0-9\ A-Za-z]*) ;;
        [0-9]*)
            # shellcheck disable=SC2086 # These are its words.
            set -- $hsts
            hsts=max-age=$1
            shift
            for word in "$@"; do
                case $word in
                    includeSubDomains | preload) hsts="$hsts; $word" ;;
                    *) hsts= ;;
                esac
            done
            case ${hsts%%;*} in
                max-age=*[!0-9]*) ;;
                max-age=*) return ;;
            esac
            ;;
        *)
            hsts=$(yes_or_no ACME_DNS_HSTS)
            hsts=${hsts:+max-age=31536000}
            return
            ;;
    esac
    [ -z "$(get ACME_DNS_HSTS)" ] ||
        refuse ACME_DNS_HSTS "$(get ACME_DNS_HSTS)" 'is neither "yes" nor a time in seconds, which "includeSubDomains" and "preload" may follow'
}

# Whose word on the visitor's address counts: sets `real_ip`, directives for a server.
choose_real_ip() {
    networks=$(plain ACME_DNS_REAL_IP_FROM 'A-Za-z0-9.:/ ' 'a list of networks')
    real_ip=
    [ -n "$networks" ] || return 0
    header='X-Forwarded-For'
    # shellcheck disable=SC2086 # They are several.
    for network in $networks; do
        case $network in
            [Cc]loudflare | CLOUDFLARE)
                header='CF-Connecting-IP'
                for known in $CLOUDFLARE_NETWORKS; do
                    real_ip="$real_ip    set_real_ip_from $known;$LF"
                done
                ;;
            *[!0-9A-Fa-f.:/]*) refuse ACME_DNS_REAL_IP_FROM "$network" 'is neither "cloudflare" nor a network such as 10.0.0.0/8' ;;
            *) real_ip="$real_ip    set_real_ip_from $network;$LF" ;;
        esac
    done
    real_ip="$real_ip    real_ip_header $header;"
    [ "$header" = CF-Connecting-IP ] || real_ip="$real_ip$LF    real_ip_recursive on;"
}

# The longest request body. An own value for all servers is not overridden; applications get files that
# Cloudflare lets pass too.
choose_body_size() {
    body_size=$(plain ACME_DNS_MAX_BODY_SIZE 0-9kKmMgG 'a size such as 100m')
    case $body_size in
        '') ;;
        [kKmMgG]* | *[kKmMgG]?*) refuse ACME_DNS_MAX_BODY_SIZE "$body_size" 'is not a size such as 100m' ;;
    esac
    if [ -z "$body_size" ] && ! http_has client_max_body_size; then
        body_size=100m
    fi
}

# The port of the status, or nothing. Another program has the same network in a pod of Kubernetes, or with that of the
# host: NGINX must not stop for that.
choose_status() {
    case $(get ACME_DNS_STATUS) in
        *[!0-9]*)
            status_port=$(yes_or_no ACME_DNS_STATUS)
            status_port=${status_port:+9353}
            ;;
        *) status_port=$(port ACME_DNS_STATUS 9353) ;;
    esac
    [ -n "$status_port" ] || return 0
    case $status_port in
        "$http_port") fail "ACME_DNS_STATUS and ACME_DNS_HTTP_PORT are both $http_port" ;;
        "$https_port") fail "ACME_DNS_STATUS and ACME_DNS_HTTPS_PORT are both $https_port" ;;
    esac
    if listens "$status_port"; then
        # Not kept for later: what is written here goes into the configuration.
        echo "$ME: warning: the status is not served, as another program listens on port $status_port: set ACME_DNS_STATUS to another port, or to \"no\"" >&2
        status_port=
    fi
}

choose_http3() {
    http3=$(yes_or_no ACME_DNS_HTTP3)
    [ -n "$http3" ] || return 0
    if ! nginx_is 1.25.0 || ! nginx -V 2>&1 | grep -q -e --with-http_v3_module; then
        fail 'ACME_DNS_HTTP3: this NGINX has no HTTP/3'
    fi
}

# Who connects by address or with a name that nobody has.
nobody_by_http() {
    cat <<CONF
# Names that no server has.
server {
CONF
    listen "$http_port default_server"
    cat <<CONF
    server_name _;
    return 404;
}
CONF
}

nobody_by_https() {
    echo "server {"
    listen "$https_port ssl${http2_parameter:+ http2} default_server"
    [ -z "$http3" ] || listen "$https_port quic default_server reuseport"
    cat <<CONF
    server_name _;
    ssl_reject_handshake on;
    # A handshake for one name and a request for another.
    return 421;
}

CONF
}

# Only what is in this container can ask.
status() {
    cat <<CONF
# The status of the certificates, for who is in this container: curl http://127.0.0.1:$status_port/
server {
    listen 127.0.0.1:$status_port;
    location / {
        acme_dns_status;
        allow 127.0.0.1;
        deny all;
    }
    location = /metrics {
        acme_dns_status prometheus;
        allow 127.0.0.1;
        deny all;
    }
}

CONF
}

redirect() {
    cat <<CONF
# Plain HTTP goes to HTTPS.
server {
CONF
    listen "$http_port"
    cat <<CONF
    server_name $1;
    return 308 https://\$host\$request_uri;
}
CONF
}

# A server with a certificate of its own. The one that is the first to listen for HTTP/3 says for all
# that each worker has a socket of its own.
server() {
    echo
    echo "server {"
    listen "$https_port ssl${http2_parameter:+ http2}"
    if [ -n "$http3" ]; then
        listen "$https_port quic$reuseport"
        reuseport=
    fi
    [ -n "$http2_parameter" ] || echo "    http2 on;"
    cat <<CONF
    server_name $1;
    acme_dns on${key:+ key=$key};
    ssl_protocols TLSv1.2 TLSv1.3;
CONF
    [ -z "$body_size" ] || echo "    client_max_body_size $body_size;"
    [ -z "$real_ip" ] || echo "$real_ip"
    [ -z "$http3" ] || echo "    add_header Alt-Svc 'h3=\":443\"; ma=86400' always;"
    [ -z "$hsts" ] || echo "    add_header Strict-Transport-Security \"$hsts\" always;"
    location
    echo "}"
}

# Sets what all servers have in common.
choose_settings() {
    no_ipv6=
    [ -f /proc/net/if_inet6 ] || no_ipv6=yes
    http_port=$(port ACME_DNS_HTTP_PORT 80)
    https_port=$(port ACME_DNS_HTTPS_PORT 443)
    [ "$http_port" -ne "$https_port" ] || fail "ACME_DNS_HTTP_PORT and ACME_DNS_HTTPS_PORT are both $https_port"
    default_server=$(yes_or_no ACME_DNS_DEFAULT_SERVER yes)
    http2_parameter=
    nginx_is 1.25.1 || http2_parameter=yes
    choose_status
    choose_http3
    choose_hsts
    choose_real_ip
    choose_body_size
}

servers() {
    choose_settings
    # NGINX's default holds names of 46 characters where a line of the cache has 64 bytes.
    names=$(echo "$certificates" | sed 's/ *->.*//' | tr '\n' ' ')
    names=${names% }
    longest=$(echo "$names" | tr ' ' '\n' | awk 'length > n { n = length } END { print n }')
    [ "$longest" -le 46 ] || printf 'server_names_hash_bucket_size 512;\n\n'
    reuseport=' reuseport'
    if [ -n "$default_server" ]; then
        has_default_server "$http_port" || nobody_by_http
        if ! has_default_server "$https_port"; then
            nobody_by_https
            reuseport=
        fi
    fi
    [ -z "$status_port" ] || status
    redirect "$names"
    general=$(get PROXY_PASS)
    while read -r line; do
        case $line in
            *' -> '*) choose_upstream ACME_DNS_DOMAINS "${line#* -> }" ;;
            *)
                choose_upstream PROXY_PASS "$general"
                used=yes
                ;;
        esac
        server "${line%% -> *}"
    done <<CERTIFICATES
$certificates
CERTIFICATES
    [ -z "$general" ] || [ -n "${used:-}" ] ||
        fail 'PROXY_PASS has no effect: each line of ACME_DNS_DOMAINS has an application of its own'
}
