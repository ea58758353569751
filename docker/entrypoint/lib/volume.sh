# shellcheck shell=sh disable=SC2034,SC2154 # These files share their variables.
# Whether the state path outlives the container.

# What holds a path, by the mount that it lies in: "anonymous", "memory", "pod" or "container"; nothing if
# it is a place that lasts.
lifetime() {
    awk -v path="$1" '
        {
            point = $5
            gsub(/\\040/, " ", point)
            if (point != "/" && index(path "/", point "/") != 1) next
            if (length(point) < longest) next
            longest = length(point)
            for (i = 7; $i != "-"; i++);
            kind = ""
            # 64 hexadecimal digits are the name that an engine gives.
            if (match($4, /\/volumes\/[0-9a-f]+\/_data$/) && RLENGTH == 79) kind = "anonymous"
            else if ($4 ~ /\/containers\/[0-9a-f]+\/volumes\//) kind = "anonymous"
            else if ($4 ~ /kubernetes\.io~empty-dir/) kind = "pod"
            else if ($(i + 1) ~ /^(tmpfs|ramfs)$/) kind = "memory"
            else if (point == "/" && $(i + 1) ~ /overlay|aufs/) kind = "container"
        }
        END { print kind }' /proc/self/mountinfo 2>/dev/null
}

# Warns of a state path that does not outlive the container.
check_volume() {
    case $(lifetime "$1") in
        anonymous) what='is an anonymous volume' ;;
        memory) what='is in memory' ;;
        pod) what="is in a volume that lives as long as its pod" ;;
        container) what="is in the container's own file system" ;;
        *) return 0 ;;
    esac
    warn "$1 $what: the next container will not find the account and certificates, and orders new ones until it reaches the CA's limits (Let's Encrypt: 5 a week); keep them in a volume with a name: -v acme_dns:$1"
}

# The state path of somebody's own configuration, where something is kept there.
check_own_state_path() {
    [ -n "$(users)" ] || return 0
    path=$(own define | awk -F '\t' '$2 == "acme_dns_state_path" { print $3 }')
    case $path in
        /*) check_volume "$path" ;;
    esac
}
