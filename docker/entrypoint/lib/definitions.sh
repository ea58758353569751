# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# CA and state path, and with those of provider.sh all that certificates have in common.

# Sets `issuer`, `directory` and `terms`.
choose_issuer() {
    staging=$(yes_or_no ACME_DNS_STAGING)
    directory=$(url ACME_DNS_DIRECTORY https)
    issuer=$(plain ACME_DNS_ISSUER A-Za-z0-9_- 'a name of letters, digits, "-" and "_"')
    if [ -n "$directory" ]; then
        [ -z "$staging" ] || fail 'ACME_DNS_STAGING and ACME_DNS_DIRECTORY contradict each other, set only one of them'
        issuer=${issuer:-acme}
        terms="the CA at $directory"
    else
        issuer=${issuer:-letsencrypt}
        case ${staging:-no}:$issuer in
            yes:letsencrypt | yes:google) issuer=$issuer-staging ;;
            yes:*-staging | no:*) ;;
            *) fail "ACME_DNS_STAGING: no staging environment of \"$issuer\" is known, set ACME_DNS_DIRECTORY instead" ;;
        esac
        case $issuer in
            letsencrypt*) terms="Let's Encrypt (https://letsencrypt.org/repository/)" ;;
            zerossl) terms='ZeroSSL (https://zerossl.com/terms/)' ;;
            google*) terms='Google Trust Services (https://pki.goog/repository/)' ;;
            sslcom) terms='SSL.com (https://www.ssl.com/repository/)' ;;
        esac
        case $issuer in
            letsencrypt | letsencrypt-staging | zerossl | google | google-staging | sslcom) ;;
            *) fail "ACME_DNS_ISSUER: $(show "$issuer") is not built in (letsencrypt, letsencrypt-staging, zerossl, google, google-staging and sslcom are), set ACME_DNS_DIRECTORY for another CA" ;;
        esac
    fi
}

issuer_block() {
    accepted=$(yes_or_no ACME_DNS_ACCEPT_TERMS)
    [ -n "$accepted" ] ||
        fail "ACME_DNS_ACCEPT_TERMS is not set: ordering certificates means accepting the terms of service of $terms, add ACME_DNS_ACCEPT_TERMS=yes if you do"
    contact=$(get ACME_DNS_EMAIL)
    [ -z "$contact" ] || contact=$(email ACME_DNS_EMAIL "$contact")
    trusted=$(file ACME_DNS_TRUSTED_CERTIFICATE)
    profile=$(words ACME_DNS_PROFILE)
    key_id=$(plain ACME_DNS_EAB_KEY_ID "$WORD_CHARACTERS" 'a key identifier')
    mac_key=$(one_of ACME_DNS_EAB_MAC_KEY)
    case ${key_id:+id}:${mac_key:+key} in
        id:) fail 'ACME_DNS_EAB_KEY_ID is set without ACME_DNS_EAB_MAC_KEY_FILE (or ACME_DNS_EAB_MAC_KEY)' ;;
        :key) fail "$mac_key is set without ACME_DNS_EAB_KEY_ID" ;;
    esac
    case $mac_key in
        *_FILE) mac_key=$(get "$mac_key") ;;
        ?*) mac_key=env:$mac_key ;;
    esac

    echo "acme_dns_issuer $issuer {"
    echo "    accept_terms_of_service;"
    [ -z "$directory" ] || echo "    directory $directory;"
    [ -z "$contact" ] || echo "    contact $contact;"
    [ -z "$trusted" ] || echo "    trusted_certificate $trusted;"
    [ -z "$profile" ] || echo "    profile $profile;"
    [ -z "$key_id" ] || echo "    external_account $key_id $mac_key;"
    echo "}"
}

# The trees of other clients to take certificates over from: pairs of a client and a path.
imports() {
    words=$(words ACME_DNS_IMPORT)
    # shellcheck disable=SC2086 # They are several.
    set -- $words
    while [ $# -gt 0 ]; do
        case ${2-} in
            /*) ;;
            *) fail "ACME_DNS_IMPORT: the absolute path of its directory must follow \"$1\"" ;;
        esac
        echo "acme_dns_import $1 $2;"
        shift 2
    done
}

# Root gives the state path to the user that needs it. Without root it must be there already, and is not
# if the other image has used the volume.
check_owner() {
    user=$(id -u)
    if [ "$user" = 0 ] || [ ! -d "$1" ]; then
        return
    fi
    if [ ! -r "$1" ] || [ ! -w "$1" ] || [ ! -x "$1" ]; then
        fail "$1 cannot be used by the user $user, run as root: chown -R $user:$(id -g) $1"
    fi
}

definitions() {
    state_path=$(plain ACME_DNS_STATE_PATH "$PATH_CHARACTERS" 'a path')
    state_path=${state_path:-/var/lib/acme_dns}
    [ "${state_path#/}" != "$state_path" ] || refuse ACME_DNS_STATE_PATH "$state_path" 'is not an absolute path'
    check_owner "$state_path"
    propagation=$(words ACME_DNS_PROPAGATION)
    domains_file=$(file ACME_DNS_DOMAINS_FILE)
    key=$(plain ACME_DNS_KEY a-z0-9:, 'a type of key')

    choose_issuer

    echo "acme_dns_state_path $state_path;"
    [ -z "$propagation" ] || echo "acme_dns_propagation $propagation;"
    imports
    [ -z "$domains_file" ] || echo "acme_dns_domains $domains_file${key:+ key=$key};"
    [ -z "$dehydrated_directives" ] || echo "$dehydrated_directives"
    echo
    issuer_block
    if ! has_own_provider; then
        echo
        provider_block
    fi
}
