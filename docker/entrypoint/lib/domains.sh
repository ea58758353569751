# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# Names and applications of ACME_DNS_DOMAINS.

is_domain() {
    case $1 in
        '*.'* | .*) name=${1#*.} ;;
        *) name=$1 ;;
    esac
    case .$name. in
        *[!A-Za-z0-9.-]* | *..* | *.-* | *-.*) return 1 ;;
    esac
    # The last label is there, and no number as that of an address.
    case $name in
        *.*) ;;
        *) return 1 ;;
    esac
    case ${name##*.} in
        *[!0-9]*) ;;
        *) return 1 ;;
    esac
}

# Why a word is no domain name, with a colon before it; nothing if nobody knows.
why_no_domain() {
    case $1 in
        *\"* | *\'*) echo ': the quotes are a part of the value, leave them out (an env file has none)' ;;
        *'->'* | '=>') echo ': an application follows after " -> ", with blanks around' ;;
        *,* | *';'*) echo ': separate names by blanks' ;;
        *\\n*) echo ': a backslash with "n" is no new line, give each certificate a line of its own' ;;
        *://*) echo ': a domain name has no http:// before it and no path; an application follows after "->"' ;;
        */*) echo ': a domain name has no path' ;;
        '*.'*.* | *.*.) [ -z "${1##*.}" ] && echo ': leave out the dot at its end' ;;
        '*.'*) echo ': no CA certifies a wildcard for a whole top-level domain' ;;
        *:*) echo ': a domain name has no port, and an address cannot be certified by DNS' ;;
        *_*) echo ': host names have no "_"' ;;
        *[!\ -~]*) echo ': write internationalized names as xn--...' ;;
        *.*[!0-9.]*) ;;
        *.*) echo ': an address cannot be certified by DNS' ;;
        *[!A-Za-z0-9-]*) ;;
        *) echo ': it has no dot, and CAs certify names of the public DNS only' ;;
    esac
}

# The lines of ACME_DNS_DOMAINS that have names, checked, each with single blanks: names, or
# names -> URL of their application.
certificates() {
    seen=' '
    domains=$(get ACME_DNS_DOMAINS | tr '\t\r' '  ')
    while read -r line; do
        # shellcheck disable=SC2086 # These are its words.
        set -- ${line%%#*}
        left=$#
        for domain in "$@"; do
            left=$((left - 1))
            if [ "$domain" = '->' ]; then
                [ $left -eq 1 ] || fail "ACME_DNS_DOMAINS: $(show "$*") must have one URL after \"->\""
                [ "$1" != '->' ] || fail "ACME_DNS_DOMAINS: $(show "$*") has no name before \"->\""
                break
            fi
            is_domain "$domain" ||
                fail "ACME_DNS_DOMAINS: $(show "$domain") is not a domain name$(why_no_domain "$domain")"
            case $seen in
                *" $domain "*) fail "ACME_DNS_DOMAINS: \"$domain\" is listed twice" ;;
            esac
            seen="$seen$domain "
        done
        [ $# -eq 0 ] || echo "$*"
    done <<DOMAINS
$domains
DOMAINS
}
