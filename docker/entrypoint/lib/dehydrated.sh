# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# Goes on where a container of NGINX, dehydrated and lexicon stopped, with the same mounts and variables. The
# directory of dehydrated's certificates becomes the state path, so that certificates, keys and the paths in
# `ssl_certificate` lines stay what they are. docs/migration.md tells the whole story.

# Whether there is such a directory, and nobody has said what else is to be done with it.
is_dehydrated() {
    case $(printf '%s' "$DEHYDRATED" | tr '[:upper:]' '[:lower:]') in
        no | off | false | 0) return 1 ;;
    esac
    if [ -d "$DEHYDRATED" ] && [ ! -x "$DEHYDRATED" ]; then
        check_owner "$DEHYDRATED"
        fail "$DEHYDRATED belongs to another user, and root may not read it without the capability DAC_OVERRIDE: --cap-add DAC_OVERRIDE"
    fi
    [ -e "$DEHYDRATED/config" ] || return 1
    # It is imported only.
    case " $(get ACME_DNS_IMPORT) " in
        *" dehydrated $DEHYDRATED "* | *" dehydrated $DEHYDRATED/ "*) return 1 ;;
    esac
    ! own define | grep -q "acme_dns_import.dehydrated "
}

# The assignments of dehydrated's configuration; those of a later file count.
dehydrated_files() {
    cat "$DEHYDRATED/config"
    [ -n "$config_d" ] || return 0
    for path in $(cd "$config_d" && set +f && ls -1 -- *.sh 2>/dev/null); do
        echo
        cat "$config_d/$path"
    done
}

# The last value that NAME=value gives in this text, without quotes and with $BASEDIR replaced.
setting() {
    printf '%s\n' "$2" | tr -d '\r' | awk -v name="$1" -v base="${base:-$DEHYDRATED}" '
        {
            sub(/^[ \t]*(export[ \t]+)?/, "")
            if (index($0, name "=") != 1) next
            value = substr($0, length(name) + 2)
            if (value ~ /^"/) { value = substr(value, 2); sub(/".*/, "", value) }
            else if (value ~ /^\047/) { value = substr(value, 2); sub(/\047.*/, "", value) }
            else sub(/[ \t;#].*/, "", value)
            while (match(value, /[$](BASEDIR|[{]BASEDIR[}])/))
                value = substr(value, 1, RSTART - 1) base substr(value, RSTART + RLENGTH)
        }
        END { print value }'
}

# A setting that has to be followed. One that a shell would compute stops the container.
followed() {
    value=$(setting "$1" "$settings")
    case $value in
        *[\$\`\(\)]* | '~'*) fail "$1=$value in $DEHYDRATED/config is computed by a shell, which is not supported: write the value itself" ;;
    esac
    printf '%s' "$value"
}

# The same for a path.
followed_path() {
    value=$(followed "$1")
    case $value in
        '') printf '%s' "$2" ;;
        /*[!$PATH_CHARACTERS]*) fail "$1=$value in $DEHYDRATED/config has a character that is not allowed in a path here" ;;
        /*) printf '%s' "${value%/}" ;;
        *) fail "$1=$value in $DEHYDRATED/config is not an absolute path" ;;
    esac
}

# The CA, under dehydrated's name for it or by its URL.
follow_ca() {
    case $1 in
        '' | letsencrypt | https://acme-v0[12].api.letsencrypt.org/directory) ;;
        letsencrypt-test | https://acme-staging*.api.letsencrypt.org/directory)
            ACME_DNS_STAGING=${ACME_DNS_STAGING:-yes} ;;
        zerossl | google) ACME_DNS_ISSUER=$1 ;;
        google-test) ACME_DNS_ISSUER=google-staging ;;
        https://*) ACME_DNS_DIRECTORY=$1 ;;
        *) fail "CA=$1 in $DEHYDRATED/config is not known here: set ACME_DNS_DIRECTORY to the URL of its directory" ;;
    esac
}

# What dehydrated calls a type of key, as the parameter key= has it.
key_of_algorithm() {
    case $1 in
        '') ;;
        prime256v1) echo ecdsa:256 ;;
        secp384r1) echo ecdsa:384 ;;
        rsa) echo "rsa:${2:-4096}" ;;
        *) fail "KEY_ALGO=$1 in $DEHYDRATED/config is not known here: set ACME_DNS_KEY" ;;
    esac
}

# Runs a program as root, or as the user of the state path where root may not read it.
as_reader() {
    if [ -x "$certdir" ] || [ ! -e "$certdir" ] || [ "$(id -u)" != 0 ]; then
        "$@"
    else
        setpriv --reuid "$(stat -c %u "$certdir")" --regid "$(stat -c %g "$certdir")" --clear-groups "$@"
    fi
}

# The type of the key that a certificate has; nothing if there is none.
key_of_certificate() {
    as_reader test -e "$certdir/$1/cert.pem" || return 0
    text=$(as_reader openssl x509 -noout -text -in "$certdir/$1/cert.pem" 2>/dev/null) ||
        fail "$certdir/$1/cert.pem cannot be read, so that the type of its key is not known: set ACME_DNS_KEY"
    case $text in
        *rsaEncryption*'Public-Key: (2048 bit)'*) echo rsa:2048 ;;
        *rsaEncryption*'Public-Key: (3072 bit)'*) echo rsa:3072 ;;
        *'Public Key Algorithm: rsaEncryption'*) echo rsa:4096 ;;
        *'Public-Key: (384 bit)'* | *'Public-Key: (521 bit)'*) echo ecdsa:384 ;;
        *) echo ecdsa:256 ;;
    esac
}

# The settings of one certificate: in its directory, or in a file of DOMAINS_D.
settings_of_certificate() {
    if [ -n "$domains_d" ]; then
        cat "$domains_d/$1" 2>/dev/null || :
    else
        as_reader cat "$certdir/$1/config" 2>/dev/null || :
    fi
}

# The type of key for a certificate: what is configured for it or for all, else the one that it has. Clients
# that know RSA only would be lost with the first renewal.
key_of() {
    alone=$(settings_of_certificate "$1")
    algorithm=$(setting KEY_ALGO "$alone")
    size=$(setting KEYSIZE "$alone")
    algorithm=${algorithm:-$(setting KEY_ALGO "$settings")}
    type=$(key_of_algorithm "$algorithm" "${size:-$(setting KEYSIZE "$settings")}")
    [ -n "$type" ] || type=$(key_of_certificate "$1")
    printf '%s' "$type"
}

# The lines of a domains file, as: NAME LINE.
named_lines() {
    tr -d '\r' < "$1" | tr '[:upper:]\t' '[:lower:] ' | awk '
        /^ *(#|$)/ { next }
        { sub(/ +$/, ""); name = $1; if (match($0, /> *[^ ]+$/)) { name = substr($0, RSTART + 1); sub(/^ +/, "", name) }
          sub(/^\*/, "_", name); print name, $0 }'
}

# Prints acme_dns_domains for a file; if its certificates have several types of keys, one for each type, with
# a copy of its lines.
domains_of() {
    parameters=
    [ "$(setting PRIVATE_KEY_RENEW "$settings")" != no ] || parameters=' reuse_key=on'
    types=
    if [ -n "$(get ACME_DNS_KEY)" ]; then
        types=$(plain ACME_DNS_KEY a-z0-9:, 'a type of key')
    else
        lines=$(named_lines "$1" | while read -r name line; do
            type=$(key_of "$name")
            echo "${type:--} $line"
        done)
        types=$(echo "$lines" | awk '$1 != "-" && NF { print $1 }' | sort | uniq -c | sort -rn | awk '{ print $2 }')
    fi
    case $types in
        *"$LF"*) ;;
        *)
            echo "acme_dns_domains $1${types:+ key=$types}$parameters;"
            return
            ;;
    esac
    echo "# The certificates of $1 by the types of their keys: start anew after a change there."
    # A new one gets the type that most have.
    most=${types%%"$LF"*}
    for type in $types; do
        part=$OUTPUT_DIR/acme_dns-$(basename "$1" .txt)-$(echo "$type" | tr : -).txt
        echo "$lines" | awk -v type="$type" -v most="$most" '
            $1 == "-" { $1 = most }
            $1 == type { sub(/^[^ ]+ /, ""); print }' 2>/dev/null > "$part" || cannot_write "$part"
        echo "acme_dns_domains $part key=$type$parameters;"
    done
}

# Settings that mean nothing here, by name.
warn_of_settings() {
    for name in PREFERRED_CHAIN RENEW_DAYS OCSP_MUST_STAPLE; do
        value=$(setting "$name" "$settings")
        case $name:$value in
            *: | OCSP_MUST_STAPLE:no) ;;
            PREFERRED_CHAIN:*) warn "PREFERRED_CHAIN of $DEHYDRATED/config is not followed: the chain that the CA offers first is served" ;;
            RENEW_DAYS:*) warn "RENEW_DAYS of $DEHYDRATED/config is not followed: renewals are due when the CA says so, otherwise at two thirds of the lifetime" ;;
            *) warn "$name of $DEHYDRATED/config is not followed" ;;
        esac
    done
    for file in $(as_reader sh -c "cd \"\$1\" 2>/dev/null && ls -1 -- */config 2>/dev/null" sh "$certdir"); do
        warn "$certdir/$file is not followed, except for KEY_ALGO and KEYSIZE"
    done
    [ -n "$domains_d" ] || return 0
    for file in $(set +f && ls -1d -- "$domains_d"/* 2>/dev/null); do
        warn "$file is not followed, except for KEY_ALGO and KEYSIZE"
    done
}

# The directories of dehydrated: sets `base`, `certdir`, `config_d`, `domains_d` and `settings`.
find_directories() {
    [ -r "$DEHYDRATED/config" ] ||
        fail "$DEHYDRATED/config cannot be read by the user $(id -u), run as root: chown -R $(id -u):$(id -g) $DEHYDRATED"
    config_d=
    settings=$(dehydrated_files)
    config_d=$(followed_path CONFIG_D '')
    [ -z "$config_d" ] || [ -d "$config_d" ] ||
        fail "CONFIG_D=$config_d in $DEHYDRATED/config is not a directory: mount it there"
    settings=$(dehydrated_files)
    base=$(followed_path BASEDIR "$DEHYDRATED")
    # All of it may have been mounted elsewhere.
    if [ ! -d "$base" ]; then
        [ -d "$DEHYDRATED/certs" ] || fail "BASEDIR=$base in $DEHYDRATED/config does not exist: mount the old directory at $base"
        base=$DEHYDRATED
    fi
    certdir=$(followed_path CERTDIR "$base/certs")
    [ "${certdir##*/}" = certs ] || fail "CERTDIR=$certdir in $DEHYDRATED/config: the directory must be called certs: rename it there and in the ssl_certificate lines, or use ACME_DNS_IMPORT=\"dehydrated $DEHYDRATED\""
    [ -d "${certdir%/certs}" ] || fail "CERTDIR=$certdir in $DEHYDRATED/config does not exist: mount the old directory at ${certdir%/certs}"
    domains_d=$(followed_path DOMAINS_D '')
}

# Sets `domains_files`.
find_domains() {
    domains_txt=$(followed_path DOMAINS_TXT "$base/domains.txt")
    [ -r "$domains_txt" ] || fail "cannot read $domains_txt: mount the old directory there, DOMAINS_TXT in $DEHYDRATED/config may name another file"
    domains_files="$domains_txt $(set +f; ls -1d -- "$domains_txt.d"/*.txt 2>/dev/null || :)"
}

follow_domains() {
    for file in $domains_files; do
        domains_of "$file"
    done
}

# Certificates that servers read although no line renews them.
warn_of_orphans() {
    renewed=" $(for file in $domains_files; do named_lines "$file"; done | awk '{ printf "%s ", $1 }')"
    for name in $(own server | cut -f 6 | awk -v dir="$certdir/" 'index($0, dir) == 1 {
        name = substr($0, length(dir) + 1)
        sub(/\/.*/, "", name)
        print name }' | sort -u); do
        case $renewed in
            *" $name "*) ;;
            *) warn "$certdir/$name is read by a server, but no line of ${domains_files%% *} has this certificate renewed" ;;
        esac
    done
}

# Sets the variables that are not set, and `dehydrated_directives`.
follow_dehydrated() {
    find_directories
    case $(get ACME_DNS_STATE_PATH) in
        '' | "${certdir%/certs}") ACME_DNS_STATE_PATH=${certdir%/certs} ;;
        *) fail "ACME_DNS_STATE_PATH: with $DEHYDRATED/config the state path is ${certdir%/certs}; leave the variable out, or set ACME_DNS_IMPORT=\"dehydrated $DEHYDRATED\" to have the certificates copied" ;;
    esac
    [ -n "$(get ACME_DNS_DIRECTORY)$(get ACME_DNS_ISSUER)" ] || follow_ca "$(followed CA)"
    ACME_DNS_EMAIL=${ACME_DNS_EMAIL:-$(followed CONTACT_EMAIL)}
    ACME_DNS_PROFILE=${ACME_DNS_PROFILE:-$(followed ACME_PROFILE)}
    # What an earlier start has written.
    (set +f && rm -f "$OUTPUT_DIR"/acme_dns-*.txt 2>/dev/null) || :
    # One that an old part of the image, mounted by somebody, has set.
    [ "$(get ACME_DNS_DOMAINS_FILE)" != "$base/domains.txt" ] || ACME_DNS_DOMAINS_FILE=
    find_domains
    accountdir=$(followed_path ACCOUNTDIR "$base/accounts")
    [ -d "$accountdir" ] || [ "$accountdir" = "$base/accounts" ] ||
        fail "ACCOUNTDIR=$accountdir in $DEHYDRATED/config is not a directory: mount it there"
    case $accountdir:$config_d in
        "$base/accounts:"* | *: | *:"$DEHYDRATED/conf.d") ;;
        *)
            # The module reads no other files.
            [ -n "$(setting ACCOUNTDIR "$(cat "$DEHYDRATED/config")")" ] ||
                fail "ACCOUNTDIR=$accountdir in $config_d is not followed, move it to $DEHYDRATED/config"
            ;;
    esac
    # The account goes along: a CA may know no other, or CAA records name it.
    dehydrated_directives="acme_dns_import dehydrated $DEHYDRATED;$LF$(follow_domains)"
    warn_of_settings
    warn_of_orphans
    entrypoint_log "$DEHYDRATED/config is followed: certificates are renewed in $certdir"
}
