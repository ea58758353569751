# Reads nginx.conf and what it includes, as nginx does but without its checks, and prints a line of fields
# divided by tabs for each
#
#     include  PATTERN                of the block http
#     main     DIRECTIVE ARGUMENTS    outside of any block
#     http     DIRECTIVE ARGUMENTS    in the block http itself
#     define   DIRECTIVE ARGUMENTS    acme_dns_... of main and http
#     server   BLOCK LISTEN NAMES ACME_DNS CERTIFICATE REJECTS ACME_DNS_INHERITED
#
# LISTEN is a list of ADDRESS,PORT,PARAMETERS. What a server inherits is in its fields; "-" is an empty one.
#
# Variables: root is nginx.conf, skip a file that is passed over.

BEGIN {
    prefix = root
    sub(/\/[^\/]*$/, "", prefix)
    depth = 0
    count = 0
    read_file(root)
    for (i = 1; i <= servers; i++) print_server(i)
}

function read_file(path,    line, rest, quote) {
    while ((getline line < path) > 0) {
        while (1) {
            sub(/^[ \t\r]+/, "", line)
            if (line == "" || line ~ /^#/) break
            if (line ~ /^[;{}]/) {
                rest = substr(line, 1, 1)
                line = substr(line, 2)
                if (rest == ";") end_directive()
                else if (rest == "{") begin_block()
                else end_block()
            } else if (line ~ /^["']/) {
                quote = substr(line, 1, 1)
                line = substr(line, 2)
                rest = ""
                while (!closes(line, quote)) {
                    rest = rest line " "
                    if ((getline line < path) <= 0) { line = ""; break }
                }
                words[++count] = rest substr(line, 1, RLENGTH - 1)
                line = substr(line, RLENGTH + 1)
            } else {
                match(line, /^(\\.|[$][{]|[^ \t\r;{])+/)
                if (RLENGTH < 1) RLENGTH = 1
                words[++count] = substr(line, 1, RLENGTH)
                line = substr(line, RLENGTH + 1)
            }
        }
    }
    close(path)
}

# Whether a quote ends in this line; RLENGTH is where.
function closes(line, quote) {
    if (quote == "\"") return match(line, /^([^"\\]|\\.)*"/)
    return match(line, /^([^'\\]|\\.)*'/)
}

function arguments(    i, text) {
    text = words[2]
    for (i = 3; i <= count; i++) text = text " " words[i]
    gsub(/\t/, " ", text)
    return text
}

function begin_block() {
    depth++
    block[depth] = words[1]
    if (words[1] ~ /^acme_dns_/ && depth <= 2) print "define\t" words[1] "\t" arguments()
    if (words[1] == "server" && depth == 2 && block[1] ~ /^(http|stream|mail)$/) {
        servers++
        of[servers] = block[1]
    }
    count = 0
}

function end_block() {
    if (depth > 0) depth--
    count = 0
}

function end_directive(    name) {
    name = words[1]
    if (name == "include") { include(words[2]); return }
    if (depth == 0) print "main\t" name "\t" arguments()
    if (depth == 1 && block[1] == "http") print "http\t" name "\t" arguments()
    if (name ~ /^acme_dns_/ && (depth == 0 || (depth == 1 && block[1] == "http")))
        print "define\t" name "\t" arguments()
    if (depth == 1 && name ~ /^(acme_dns|ssl_certificate)$/) inherited[block[1], name] = arguments()
    if (depth == 2 && block[2] == "server" && servers) set(servers, name)
    count = 0
}

function set(i, name) {
    if (name == "listen") listen[i] = listen[i] (listen[i] == "" ? "" : " ") endpoint()
    else if (name == "server_name") names[i] = names[i] (names[i] == "" ? "" : " ") arguments()
    else if (name == "acme_dns") acme[i] = arguments()
    else if (name == "ssl_certificate" && certificate[i] == "") certificate[i] = arguments()
    else if (name == "ssl_reject_handshake") rejects[i] = arguments()
}

# ADDRESS,PORT,PARAMETERS of a listen directive.
function endpoint(    address, port, parameters, i) {
    address = words[2]
    port = ""
    if (address ~ /^unix:/) port = "unix"
    else if (address ~ /^[0-9]+$/) { port = address; address = "*" }
    else if (match(address, /:[0-9]+$/)) {
        port = substr(address, RSTART + 1)
        address = substr(address, 1, RSTART - 1)
    }
    for (i = 3; i <= count; i++) parameters = parameters (i > 3 ? "+" : "") words[i]
    return address "," (port == "" ? 80 : port) "," parameters
}

# A certificate of the server takes precedence over an inherited acme_dns, and its acme_dns over an
# inherited certificate.
function print_server(i,    from, its) {
    from = its = ""
    if (acme[i] == "" && certificate[i] == "") {
        acme[i] = inherited[of[i], "acme_dns"]
        if (acme[i] != "" && acme[i] != "off") its = "inherited"
        certificate[i] = inherited[of[i], "ssl_certificate"]
    }
    if (acme[i] == "off") acme[i] = ""
    print "server\t" of[i] "\t" (listen[i] == "" ? "*,80," : listen[i]) "\t" field(names[i]) "\t" field(acme[i]) \
        "\t" field(certificate[i]) "\t" (rejects[i] == "on" ? "rejects" : "-") "\t" field(its)
}

function field(text) {
    return text == "" ? "-" : text
}

# Each file that a pattern names, in nginx's order. The pattern is quoted for the shell but for what
# makes it a pattern.
function include(pattern,    command, file, list, i, n) {
    count = 0
    if (pattern !~ /^\//) pattern = prefix "/" pattern
    if (depth == 1 && block[1] == "http") print "include\t" pattern
    gsub(/[^A-Za-z0-9_.\/*?\[\]-]/, "\\\\&", pattern)
    command = "for file in " pattern "; do [ ! -f \"$file\" ] || echo \"$file\"; done"
    n = 0
    while ((command | getline file) > 0) list = list (n++ ? "\n" : "") file
    close(command)
    for (i = 1; i <= n; i++) {
        file = nth(list, i)
        if (file != skip && depth < 20) read_file(file)
    }
}

function nth(list, i,    parts) {
    split(list, parts, "\n")
    return parts[i]
}
