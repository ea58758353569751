# shellcheck shell=sh disable=SC2034,SC2153,SC2154 # These files share their variables.
# The DNS provider. providers.txt has the types with their settings and variables; Cloudflare's, of which several
# programs have given different ones the same name, are in credentials.sh.

PROVIDERS=$LIB/providers.txt

# Sets `provider`: the type that the environment asks for.
choose_provider() {
    wanted=$(get ACME_DNS_PROVIDER)
    variable=ACME_DNS_PROVIDER
    old=$(get PROVIDER)
    if [ -z "$wanted" ]; then
        wanted=$old
        variable=PROVIDER
    elif [ -n "$old" ] && [ "$(type_of "$old")" != "$(type_of "$wanted")" ]; then
        fail 'ACME_DNS_PROVIDER and PROVIDER contradict each other, set only one of them'
    fi
    provider=$(type_of "${wanted:-cloudflare}")
    [ -n "$provider" ] ||
        fail "$variable: $(show "$wanted") is not a known DNS provider$(hint "$wanted"), docs/providers.md lists them; those that lego, acme.sh, lexicon or a hook of dehydrated knows can be used by the type \"exec\""
}

# The type with this name, as we or lexicon call it; nothing if there is none.
type_of() {
    printf '%s\n' "$1" | tr '[:upper:]' '[:lower:]' | awk '
        NR == FNR { wanted = $0; next }
        $1 == "provider" { for (i = 2; i <= NF; i++) if ($i == wanted) { print $2; exit } }' - "$PROVIDERS"
}

# The settings of a type: name, kind, need, and variables.
settings_of() {
    awk -v type="$1" '
        $1 == "provider" { is_it = $2 == type }
        $1 == "setting" && is_it { sub(/^setting /, ""); print }' "$PROVIDERS"
}

# The variables of the provider.
provider_variables() {
    case $provider in
        cloudflare) echo "$CREDENTIALS" | awk '{ for (i = 2; i <= NF; i++) print $i, $i "_FILE" }' && echo "$ZONE_IDS" ;;
        *) settings_of "$provider" | awk '{ for (i = 4; i <= NF; i++) print $i, $i "_FILE" }' ;;
    esac
}

# Whether a file of somebody's own defines the provider, and the environment does not.
has_own_provider() {
    own define | cut -f 2 | grep -qx acme_dns_provider || return 1
    for name in ACME_DNS_PROVIDER PROVIDER $(provider_variables); do
        [ -z "$(get "$name")" ] || return 1
    done
}

provider_block() {
    echo "acme_dns_provider $provider {"
    case $provider in
        cloudflare) cloudflare_settings ;;
        *) provider_settings ;;
    esac
    echo "}"
}

cloudflare_settings() {
    credentials=$(credentials)
    api=$(url ACME_DNS_PROVIDER_API https)
    # shellcheck disable=SC2086 # They are several.
    zone_variable=$(one_of $ZONE_IDS)
    zone_id=${zone_variable:+$(content "$zone_variable")}
    case $zone_id in
        *[!A-Za-z0-9]*) fail "$zone_variable is not the ID of a zone" ;;
    esac
    echo "    $credentials"
    [ -z "$zone_id" ] || echo "    zone_id $zone_id;"
    [ -z "$api" ] || echo "    api $api;"
}

# The settings of any other type. Which of several ways to authorize is complete is left to NGINX.
provider_settings() {
    ways=
    chosen=
    api=$(url ACME_DNS_PROVIDER_API https)
    table=$(settings_of "$provider")
    while read -r name kind need variables; do
        # shellcheck disable=SC2086 # They are several.
        source=$(one_of $variables)
        if [ -z "$source" ] && [ "$name" = api ] && [ -n "$api" ]; then
            echo "    api $api;"
            continue
        fi
        case $need:$source in
            required:) fail "$(needs "$kind" "$variables")" ;;
            way-1:) ways=${ways:-$(needs "$kind" "$variables")} ;;
            way-*:?*) chosen=yes ;;
        esac
        [ -z "$source" ] || provider_setting "$name" "$kind" "$source"
    done <<TABLE
$table
TABLE
    [ -z "$ways" ] || [ -n "$chosen" ] || fail "$ways"
    if [ -n "$api" ] && ! printf '%s\n' "$table" | grep -q '^api '; then
        fail "ACME_DNS_PROVIDER_API has no effect with the provider \"$provider\""
    fi
}

# What is missing.
needs() {
    first=${2%% *}
    case $1:$first in
        secret:*_FILE | secret:*_PATH) echo "$first is not set: the provider \"$provider\" needs it, the name of a file" ;;
        secret:*) echo "${first}_FILE is not set: the provider \"$provider\" needs it, the name of a file with the secret; $first may hold the secret itself" ;;
        flag:*) echo "$first is not set: the provider \"$provider\" needs it, docs/providers.md says why" ;;
        *) echo "$first is not set: the provider \"$provider\" needs it" ;;
    esac
}

# One directive: NAME KIND VARIABLE.
provider_setting() {
    case $2 in
        secret)
            # Says what is wrong with a file.
            checked=$(content "$3")
            echo "    $(secret "$1" "$3")"
            ;;
        flag)
            value=$(yes_or_no "$3")
            [ -z "$value" ] || value=on
            echo "    $1 ${value:-off};"
            ;;
        *)
            value=$(content "$3")
            case $value in
                *[!$WORD_CHARACTERS]*) refuse "$3" "$value" 'has a character that is not allowed here' ;;
            esac
            echo "    $1 $value;"
            ;;
    esac
}
