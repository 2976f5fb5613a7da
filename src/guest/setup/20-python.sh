# Programs from PyPI, each in an environment of its own, for everybody. The input is NAME[==VERSION]
# lines.

export PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin PIPX_MAN_DIR=/usr/local/share/man
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export PIP_DEFAULT_TIMEOUT="${PIP_DEFAULT_TIMEOUT:-30}" PIP_RETRIES="${PIP_RETRIES:-2}"

venv_of() {
    name=${1%%==*}
    printf '%s/venvs/%s' "$PIPX_HOME" "${name%%\[*}" | sed 's/[-_.]\{1,\}/-/g' | tr '[:upper:]' '[:lower:]'
}

is_there() {
    metadata=$(venv_of "$1")/pipx_metadata.json
    [ -e "$metadata" ] || return 1
    version=$(python3 -I -c 'import json, re, sys
main = json.load(open(sys.argv[1]))["main_package"]
def parts(spec):
    words = re.findall("[A-Za-z0-9._-]+", spec.split("==")[0])
    words = [re.sub("[-_.]+", "-", word).lower() for word in words]
    return words[0], set(words[1:])
if parts(main["package_or_url"]) != parts(sys.argv[2]):
    sys.exit(1)
print(main["package_version"])' "$metadata" "$1" 2>/dev/null) || return 1
    [ "$1" != "${1#*==}" ] || return 0
    # shellcheck disable=SC2254 # a version may be a pattern, as for pip
    case $version in
    ${1#*==} | ${1#*==}.0) ;;
    *) return 1 ;;
    esac
}

# An environment holds its own path, so a new one is made in the place of the old one. That waits here,
# whole, and is brought back where the new one did not come to its end.
before=$PIPX_HOME/agentvm-before
gone=$PIPX_HOME/agentvm-gone

install_one() {
    venv=$(venv_of "$1")
    if [ -e "$venv/pipx_metadata.json" ]; then
        mkdir -p "$before"
        mv -T "$venv" "$before/${venv##*/}"
    fi
    # One that was cut off is in the way.
    rm -rf "$venv"
    run "pipx install $1" pipx install --force "$1"
    # First its name: half of it must not be brought back.
    [ ! -e "$before" ] || mv -T "$before" "$gone"
    rm -rf "$gone"
}

bring_back() {
    # Where the connection was lost, it is still being ended.
    [ -z "$child" ] || wait "$child" || :
    for old in "$before"/*; do
        [ -e "$old" ] || continue
        rm -rf "$PIPX_HOME/venvs/${old##*/}"
        mv -T "$old" "$PIPX_HOME/venvs/${old##*/}"
    done
    rm -rf "$before" "$gone"
}

apply() {
    receive
    # What went down with the machine is brought back now.
    bring_back
    trap 'bring_back; kill "$ticker" 2>/dev/null || :' EXIT
    command -v pipx >/dev/null ||
        fail 'there is no pipx in the VM: python-packages.txt needs pipx in apt-packages.txt'
    each_missing install_one
}
