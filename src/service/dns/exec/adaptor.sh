# shellcheck shell=sh disable=SC1090,SC1091,SC2034
# Calls a function of a script of acme.sh: HOME_OF_ACME_SH SCRIPT add|rm NAME VALUE.
# Standard input has the secrets, as assignments: they are seen by this shell alone.
secrets=$(cat) && eval "$secrets" || exit 125
unset secrets
exec </dev/null
acme_sh=$1 script=$2 action=$3 name=$4 value=$5
NO_TIMESTAMP=1
mkdir -p "$HOME/.acme.sh"
set -- :
. "$acme_sh/acme.sh"
_initpath
# It would write the credentials into a file.
_save_conf() { :; }
_clear_conf() { :; }
. "$acme_sh/dnsapi/$script.sh"
"${script}_$action" "$name" "$value"
