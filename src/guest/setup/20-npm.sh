# npm itself, and programs from its registry, for everybody. The input is a line "VERSION SUM" of npm
# (Debian's would bring 400 packages), or "- -", and NAME[@VERSION] lines.

modules=/usr/local/lib/node_modules

version_of() {
    [ ! -e "$modules/$1/package.json" ] ||
        sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$modules/$1/package.json" | head -n 1
}

# Whether VERSION is what was asked for: nothing, a version, or the beginning of one up to a dot.
fits() {
    [ -n "$1" ] || return 1
    case $2 in '' | "$1") return 0 ;; esac
    case $1 in "$2".*) ;; *) return 1 ;; esac
}

is_there() {
    # A scope begins with an @ too.
    pin=${1#@}
    case $pin in *@*) pin=${pin##*@} ;; *) pin= ;; esac
    fits "$(version_of "${1%"@$pin"}")" "$pin"
}

npm_itself() {
    if [ "$force" = 0 ] && [ "$(version_of npm)" = "$1" ] && [ -x /usr/local/bin/npm ]; then return; fi
    archive=/usr/local/agentvm-npm.tgz
    field stage "installing npm $1"
    registry=${npm_config_registry:-https://registry.npmjs.org/}
    download "${registry%/}/npm/-/npm-$1.tgz" "$archive" sha512 "$2"
    new=$modules/.agentvm-npm
    rm -rf "$new"
    mkdir -p "$new" /usr/local/bin
    run "unpacking npm $1" tar -C "$new" --no-same-owner --strip-components=1 -xzf "$archive"
    echo 'prefix = /usr/local' >"$new/npmrc"
    rm -rf "$modules/npm" "$archive"
    mv -T "$new" "$modules/npm"
    ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
    ln -sf ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
    result=installed
}

install_one() {
    run "npm install --global $1" npm install --global --prefix /usr/local --no-audit --no-fund \
        --no-update-notifier --fetch-retries 2 --fetch-timeout 60000 -- "$1"
}

apply() {
    receive
    read -r version sum <"$input"
    sed -i 1d "$input"
    if ! command -v node >/dev/null; then
        [ ! -s "$input" ] ||
            fail 'there is no Node in the VM: npm-packages.txt needs nodejs in apt-packages.txt'
        result='skipped there is no Node in the VM'
        return
    fi
    store=/etc/ssl/certs/ca-certificates.crt
    [ ! -e "$store" ] || export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$store}"
    if [ "$version" != - ]; then
        npm_itself "$version" "$sum"
    elif ! command -v npm >/dev/null; then
        [ ! -s "$input" ] || fail 'there is no npm in the VM: versions.txt does not name NPM'
    fi
    each_missing install_one
}
