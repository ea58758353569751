#!/bin/sh
# Puts variables of the environment into templates, as the official image does.
set -e

templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
[ -d "$templates" ] || exit 0
# shellcheck disable=SC2016
variables=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1}/p')
for template in "$templates"/*.template; do
    [ -f "$template" ] || continue
    name=$(basename "$template" .template)
    envsubst "$variables" <"$template" >"$output/$name"
done
