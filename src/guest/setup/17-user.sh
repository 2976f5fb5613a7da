# What the stages that let the agent use something have in common.

login=${SUDO_USER:-root}

# The agent becomes a member; connections that are there do not notice.
join() {
    case " $(id -nG "$login") " in
    *" $1 "*) return ;;
    esac
    run "making $login a member of $1" usermod --append --groups "$1" "$login"
    field login again
    result=installed
}

# Gives the agent ranges of ids, in which it can have other users.
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
