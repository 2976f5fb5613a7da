# The guest image. Sourced by lib.sh.
# shellcheck shell=bash

# shellcheck disable=SC2034  # for the scripts that source this
image_dir=${XDG_CACHE_HOME:-$HOME/.cache}/git-agent-vm/image

# The address of the template's image for this machine.
template_image_url() {
    sed -n 's/^- location: "\(.*\)"$/\1/p' "$repo_dir/templates/agent-vm.yaml" |
        grep -F -- "-$(debian_arch)-"
}

template_image_reachable() {
    local url
    url=$(template_image_url)
    curl -fsIL --max-time 20 "$url" >/dev/null 2>&1
}

debian_arch() {
    case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) die "no guest image for $(uname -m): only x86_64 and aarch64" ;;
    esac
}
