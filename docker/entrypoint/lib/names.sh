# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# Names of variables: those of the image, those that are mistyped, those that nothing uses.

# What may follow ACME_DNS_.
VARIABLES="EMAIL ACCEPT_TERMS DOMAINS DOMAINS_FILE IMPORT DEHYDRATED STAGING ISSUER DIRECTORY TRUSTED_CERTIFICATE \
EAB_KEY_ID EAB_MAC_KEY EAB_MAC_KEY_FILE PROFILE KEY PROVIDER PROVIDER_API PROPAGATION STATE_PATH HTTP_PORT HTTPS_PORT \
STATUS DEFAULT_SERVER MAX_BODY_SIZE HTTP3 HSTS REAL_IP_FROM"

# What lego and acme.sh call their settings for the program acme-dns.
FOREIGN_VARIABLES="ACME_DNS_API_BASE ACME_DNS_STORAGE_PATH ACME_DNS_STORAGE_BASE_URL ACME_DNS_ALLOWLIST \
ACMEDNS_BASE_URL ACMEDNS_UPDATE_URL ACMEDNS_USERNAME ACMEDNS_PASSWORD ACMEDNS_SUBDOMAIN"

# Names in the environment that are almost those of this image, with the nearest one. Names of others
# begin in the same way: Kubernetes and links of containers set some for a service called acme-dns, and
# so do clients of the program acme-dns.
mistyped_names() {
    env | awk -v variables="$VARIABLES" -v foreign="$FOREIGN_VARIABLES" '
        function least(a, b) { return a < b ? a : b }

        # The number of letters to add, leave out, replace or exchange.
        function distance(a, b,    i, j, m, n, cost, d) {
            m = length(a)
            n = length(b)
            for (i = 0; i <= m; i++) d[i, 0] = i
            for (j = 0; j <= n; j++) d[0, j] = j
            for (i = 1; i <= m; i++) for (j = 1; j <= n; j++) {
                cost = substr(a, i, 1) != substr(b, j, 1)
                d[i, j] = least(least(d[i - 1, j] + 1, d[i, j - 1] + 1), d[i - 1, j - 1] + cost)
                if (i > 1 && j > 1 && substr(a, i, 1) == substr(b, j - 1, 1) &&
                    substr(a, i - 1, 1) == substr(b, j, 1)) d[i, j] = least(d[i, j], d[i - 2, j - 2] + 1)
            }
            return d[m, n]
        }

        function plain(name) { name = toupper(name); gsub(/[^A-Z0-9]/, "", name); return name }

        # Sets nearest, and far: how far away it is. What is a part of the other is near.
        function find(name,    i, d) {
            nearest = "PROXY_PASS"
            far = distance(name, "PROXYPASS")
            # Others have names such as PROXY_PASSWD.
            if (far > 1) far = 1000
            for (i = 1; i <= count; i++) {
                d = distance(name, plain("ACME_DNS_" known[i]))
                if (d > 2 && length(name) > 9 && index(plain(known[i]), substr(name, 8))) d = 2.5
                if (d < far) { far = d; nearest = "ACME_DNS_" known[i] }
            }
        }

        BEGIN {
            count = split(variables, known, " ")
            for (i = 1; i <= count; i++) is_known["ACME_DNS_" known[i]] = 1
            is_known["PROXY_PASS"] = 1
            others = split(foreign, name_of, " ")
            for (i = 1; i <= others; i++) is_known[name_of[i]] = 1
        }
        !/^[A-Za-z_][A-Za-z0-9_.-]*=./ { next }
        {
            name = $0
            sub(/=.*/, "", name)
            value = substr($0, length(name) + 2)
            like = plain(name)
            # The others are not worth the time.
            if (name in is_known || like !~ /ACM|CME|DN|NS|PA/) next
            if (name ~ /^ACME_DNS_(.*_)?SERVICE_(HOST|PORT.*)$/ || name ~ /^ACME_DNS_(.*_)?PORT_/) next
            if (name ~ /^ACME_DNS_(ENV_|.*_ENV_)/ || (name == "ACME_DNS_NAME" && value ~ /^\//)) next
            find(like)
            if (name ~ /^ACME_DNS_(.*_)?PORT$/ && (far > 2 || value ~ /:\/\//)) next
            if (like ~ /^ACMEDNS/ || far <= 2) print name, nearest
        }'
}

# Stops at the first name that is mistyped, unless the configuration itself speaks of it.
check_names() {
    mistyped=$(mistyped_names)
    while read -r name nearest; do
        if [ -n "$name" ] && ! is_mentioned "$name"; then
            fail "$name is not a variable of this image, the nearest one is $nearest"
        fi
    done <<NAMES
$mistyped
NAMES
    for name in CF_ZONE_API_TOKEN CLOUDFLARE_ZONE_API_TOKEN; do
        [ -z "$(get "$name")" ] || warn "$name is not used, the one token needs Zone / Zone / Read as well"
    done
}

# The first variable that is there to obtain certificates, or nothing.
purposeful() {
    choose_provider
    # shellcheck disable=SC2046 # They are several.
    for name in $(provider_variables) PROVIDER $(env | sed -n 's/^\(LEXICON_[A-Za-z0-9_]*\)=.*/\1/p'); do
        if [ -n "$(get "$name")" ] && ! is_mentioned "$name"; then
            echo "$name"
            return
        fi
    done
}

# Where nothing is generated: what was set for it has no effect, which is a mistake.
check_unused() {
    if [ -z "$(users)" ]; then
        name=$(purposeful)
        case $name:$(is_generated || ls "$CONF" 2>/dev/null) in
            :*) ;;
            *:?*) fail "$name is set, but nothing uses it: $CONF is your own, so that nothing is generated, and no server says \"acme_dns on;\"" ;;
            PROVIDER:* | LEXICON_*)
                fail "$name is set, but nothing uses it: there is no $DEHYDRATED/config (is the old directory mounted?), and no ACME_DNS_DOMAINS says for which names to obtain certificates"
                ;;
            *) fail "$name is set, but nothing uses it: set ACME_DNS_DOMAINS to the names to obtain a certificate for, and ACME_DNS_ACCEPT_TERMS" ;;
        esac
    fi
    check_proxy_pass
}

check_proxy_pass() {
    if [ -n "$(get PROXY_PASS)" ] && [ -z "$(get ACME_DNS_DOMAINS)" ] && ! is_mentioned PROXY_PASS; then
        fail "PROXY_PASS has no effect without ACME_DNS_DOMAINS, which says for which names the application answers"
    fi
}
