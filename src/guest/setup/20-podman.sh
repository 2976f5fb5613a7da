# Containers without root: the packages, ranges of ids for the agent, and its services from boot on,
# without which a container that runs on would lose its files of /run with the last login.

sub_ids() {
    for file in /etc/subuid /etc/subgid; do
        [ -e "$file" ] || : >"$file"
        ! grep -q "^$login:" "$file" || continue
        first=$(awk -F: 'BEGIN { next_id = 100000 }
            $2 + $3 > next_id { next_id = $2 + $3 }
            END { print next_id }' "$file")
        run "giving ids to $login" usermod "--add-${file#/etc/}s" "$first-$((first + 65535))" "$login"
        result=installed
    done
}

apply() {
    receive
    install_packages "$input"
    sub_ids
    [ -e "/var/lib/systemd/linger/$login" ] ||
        run "keeping services of $login" loginctl enable-linger "$login"
}
