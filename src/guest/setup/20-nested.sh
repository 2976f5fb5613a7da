# VMs in the VM: QEMU and Lima. The input is a line "VERSION SUM SUM", of Lima and of its archives for
# amd64 and arm64, and Debian packages. A sum is none where what is built in lacks it, - where a user's file
# does.
apply() {
    receive
    read -r version amd64 arm64 <"$input"
    sed -i 1d "$input"
    if [ ! -c /dev/kvm ]; then
        result='skipped the VM has no /dev/kvm: this machine does not let a VM run others'
        return
    fi
    case $(uname -m) in
    x86_64) arch=x86_64 qemu=x86 sum=$amd64 line=LIMA_SHA256_AMD64 ;;
    aarch64) arch=aarch64 qemu=arm sum=$arm64 line=LIMA_SHA256_ARM64 ;;
    *) fail "there is no Lima for $(uname -m)" ;;
    esac
    case $sum in
    -) fail "versions.txt has no checksum of Lima $version for $arch: $line" ;;
    none)
        result="skipped there is no checksum of Lima $version for $arch yet: a versions.txt of your own needs the line $line"
        return
        ;;
    esac
    echo "qemu-system-$qemu" >>"$input"
    install_packages "$input"
    join kvm
    record=/usr/local/share/agentvm-lima
    had=
    [ ! -e "$record" ] || read -r had <"$record" || :
    if [ "$had" != "$version $sum" ] || [ "$force" = 1 ]; then
        archive=/usr/local/agentvm-lima.tar.gz
        field stage "installing Lima $version"
        download "https://github.com/lima-vm/lima/releases/download/v$version/lima-$version-Linux-$arch.tar.gz" \
            "$archive" sha256 "$sum"
        run "unpacking Lima $version" tar -C /usr/local --no-same-owner -xzf "$archive"
        rm -f "$archive"
        echo "$version $sum" >"$record"
        result=installed
    fi
}
