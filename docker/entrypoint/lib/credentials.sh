# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# Cloudflare's credentials, under the names that other programs have given them.

# "key" is a global API key and "token" an API token; "either" is a key if the account is given too, else
# a token. A global key is followed by the variables for its account's e-mail address. _FILE may be
# appended to each name.
CREDENTIALS='
    token  CLOUDFLARE_API_TOKEN
    token  CLOUDFLARE_DNS_API_TOKEN
    token  CF_DNS_API_TOKEN
    token  CF_API_TOKEN
    token  CF_Token
    key    CLOUDFLARE_API_KEY  CLOUDFLARE_EMAIL CF_API_EMAIL
    key    CF_API_KEY  CF_API_EMAIL CLOUDFLARE_EMAIL
    key    CF_Key  CF_Email
    either LEXICON_CLOUDFLARE_AUTH_TOKEN  LEXICON_CLOUDFLARE_AUTH_USERNAME LEXICON_CLOUDFLARE_USERNAME
    either LEXICON_CLOUDFLARE_TOKEN  LEXICON_CLOUDFLARE_AUTH_USERNAME LEXICON_CLOUDFLARE_USERNAME'

ZONE_IDS='CF_Zone_ID CLOUDFLARE_ZONE_ID LEXICON_CLOUDFLARE_ZONE_ID'

# A directive for the secret of a variable, which does not contain the secret.
secret() {
    case $2 in
        *_FILE | *_PATH) printf '%s_file %s;' "$1" "$(get "$2")" ;;
        *) printf '%s env:%s;' "$1" "$2" ;;
    esac
}

# The directives of Cloudflare's credentials.
credentials() {
    chosen=
    while read -r kind name emails; do
        [ -n "$kind" ] || continue
        source=$(one_of "$name")
        [ -n "$source" ] || continue
        # shellcheck disable=SC2086 # They are several.
        account=$(one_of $emails)
        case $kind:$account in
            key:) fail "$source is a global API key: it needs the e-mail address of its account in ${emails%% *}" ;;
            token:* | either:)
                directives=$(secret token "$source")
                identity=token:$(content "$source")
                ;;
            *)
                address=$(content "$account")
                address=$(email "$account" "$address")
                directives="email $address; $(secret key "$source")"
                identity=$address:$(content "$source")
                ;;
        esac
        if [ -z "$chosen" ]; then
            chosen=$source
            chosen_identity=$identity
            chosen_directives=$directives
        elif [ "$identity" != "$chosen_identity" ]; then
            fail "$chosen and $source contradict each other, set only one of them"
        fi
    done <<TABLE
$CREDENTIALS
TABLE
    [ -n "$chosen" ] ||
        fail 'CLOUDFLARE_API_TOKEN_FILE is not set: it names a file with an API token for the zones (Zone / DNS / Edit and Zone / Zone / Read); CLOUDFLARE_API_TOKEN may hold the token itself'
    printf '%s' "$chosen_directives"
}

