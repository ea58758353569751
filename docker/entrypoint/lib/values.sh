# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# Messages, and values of variables: checked, or refused with one line.

# What may stand in the configuration: nothing in it ends a directive or begins a variable. These
# are bracket expressions: "]" stands first and "-" last.
PATH_CHARACTERS='A-Za-z0-9._/@%+=:,~-'
URL_CHARACTERS='][A-Za-z0-9._/@%+=:,~?&!*-'
WORD_CHARACTERS='][A-Za-z0-9._/@%+=:,~-'
EMAIL_CHARACTERS='A-Za-z0-9._%+=@-'

entrypoint_log() {
    if [ -z "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ]; then
        printf '%s\n' "$ME: info: $*"
    fi
}

# Warnings are said at the end: a mistake stops the container with one line.
warn() {
    warnings="$warnings$ME: warning: $*$LF"
}

say_warnings() {
    printf '%s' "$warnings" >&2
    warnings=
}

fail() {
    printf '%s\n' "$ME: $*" >&2
    exit 1
}

# A value for a message of one line, in which each blank and each quote can be seen.
show() {
    printf '"%s"' "$(printf '%s.' "$1" | awk '{
        gsub(/\\/, "\\\\\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); gsub(/\r/, "\\r")
        gsub(/[^ -~]/, "?")
        printf "%s%s", (NR > 1 ? "\\n" : ""), $0
    }' | sed 's/\.$//')"
}

LF='
'
CR=$(printf '\r')
TAB=$(printf '\t')
warnings=

# What most likely made a value wrong that looks right, with a colon before it; nothing if nobody knows.
hint() {
    case $1 in
        \"*\" | \'*\') echo ': the quotes are a part of the value, leave them out (an env file has none)' ;;
        *"$CR") echo ': it ends with a carriage return, as lines of Windows do' ;;
        *"$LF"*) echo ': it has several lines' ;;
        ' '* | *' ' | "$TAB"* | *"$TAB") echo ': the blanks at its ends are a part of the value' ;;
    esac
}

# Stops because of the value of a variable: refuse NAME VALUE "is not a port".
refuse() {
    fail "$1: $(show "$2") $3$(hint "$2")"
}

# The value of a variable of this name; nothing if there is none.
get() {
    eval "printf '%s' \"\${$1-}\""
}

# The value of a variable that consists of these characters.
plain() {
    value=$(get "$1")
    case $value in
        *[!$2]*) refuse "$1" "$value" "is not $3" ;;
    esac
    printf '%s' "$value"
}

# The value of a variable that consists of words.
words() {
    plain "$1" "] ${WORD_CHARACTERS#]}" 'made of letters, digits and the characters . _ / @ % + = : , ~ - [ ]'
}

# Whether a variable says yes; the second argument is what an empty one means. Not in a condition: a
# wrong value could not end the script there.
yes_or_no() {
    value=$(get "$1")
    case $(printf '%s' "${value:-${2-}}" | tr '[:upper:]' '[:lower:]') in
        yes | true | on | 1) echo yes ;;
        '' | no | false | off | 0) ;;
        *) refuse "$1" "$value" 'is neither "yes" nor "no"' ;;
    esac
}

# The value of a variable that is a URL; the second argument is the scheme that most likely is meant.
url() {
    value=$(get "$1")
    check_url "$1" "$value" "$2"
    printf '%s' "$value"
}

check_url() {
    case $2 in
        '' | http://?* | https://?*) ;;
        *://* | *[!$URL_CHARACTERS]* | /* | :*) refuse "$1" "$2" 'is not a URL' ;;
        *) refuse "$1" "$2" "is not a URL: $3:// is missing, write $3://$2" ;;
    esac
    case $2 in
        *[!$URL_CHARACTERS]*) refuse "$1" "$2" 'is not a URL' ;;
    esac
}

port() {
    value=$(plain "$1" 0-9 'a port')
    value=${value:-$2}
    if [ "${#value}" -gt 5 ] || [ "$value" -lt 1 ] || [ "$value" -gt 65535 ]; then
        refuse "$1" "$value" 'is not a port'
    fi
    printf '%s' "$value"
}

# The path of a file, which can be read.
file() {
    value=$(get "$1")
    case $value in
        '') return ;;
        # Not shown: it may be the secret itself.
        [!/]*) fail "$1 is not the absolute path of a file$(hint "$value")" ;;
        *[!$PATH_CHARACTERS]*) fail "$1 has a character that is not allowed in a path here$(hint "$value")" ;;
    esac
    [ -e "$value" ] || fail "$1: $value does not exist"
    [ -f "$value" ] || fail "$1: $value is not a file"
    [ -r "$value" ] || fail "$1: $value cannot be read by the user $(id -u)"
    [ -s "$value" ] || fail "$1: $value is empty"
    printf '%s' "$value"
}

# An e-mail address that a variable holds. Not shown if it is none: it may be a secret in a wrong
# place.
email() {
    case $2 in
        *[!$EMAIL_CHARACTERS]* | *@*@* | @* | *@) ;;
        *@*)
            printf '%s' "$2"
            return
            ;;
    esac
    fail "$1 is not an e-mail address$(hint "$2")"
}

# What a variable holds, or the file that it names if it ends in _FILE, or in _PATH as lego has it.
content() {
    case $1 in
        *_FILE | *_PATH)
            path=$(file "$1")
            tr -d '[:space:]' < "$path"
            ;;
        *) get "$1" ;;
    esac
}

# Which of these variables is set, itself or with _FILE appended; nothing if none is.
one_of() {
    found=
    for name in "$@"; do
        for candidate in "$name" "${name}_FILE"; do
            [ -n "$(get "$candidate")" ] || continue
            value=$(content "$candidate")
            if [ -z "$found" ]; then
                found=$candidate
                first=$value
            elif [ "$value" != "$first" ]; then
                fail "$found and $candidate contradict each other, set only one of them"
            fi
        done
    done
    printf '%s' "$found"
}
