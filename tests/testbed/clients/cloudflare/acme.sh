# acme.sh's own function for Cloudflare, as its order calls it.
# Arguments: "add" or "remove", the name, the value. API, TOKEN and ACME_SH are in the environment.
action=$1 name=$2 value=$3
set --
. "$ACME_SH/acme.sh" > /dev/null
. "$ACME_SH/dnsapi/dns_cf.sh"
CF_Api=$API
CF_Token=$TOKEN
# What it would keep on disk.
_saveaccountconf_mutable() { :; }
_clearaccountconf_mutable() { :; }
_clearaccountconf() { :; }
_readaccountconf_mutable() { :; }
case $action in
    add) dns_cf_add "$name" "$value" ;;
    remove) dns_cf_rm "$name" "$value" ;;
esac
