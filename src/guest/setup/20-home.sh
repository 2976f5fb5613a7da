# Puts files into the home directory of whoever logged in. It reads, for each file, a line
# "MODE SIZE SHA256 KEY ./PATH/." and SIZE bytes; KEY is a name for the record of what we wrote
# there. At last "end".
as_user=yes

sum_of() {
    # A file that cannot be read is somebody's.
    if [ -r "$1" ]; then sha256sum <"$1" | cut -c 1-64; else echo unreadable; fi
}

record() { cat "$home_stamps/$1" 2>/dev/null || :; }

# Whether $target was written by somebody else, by what is in it: it is none of what we wrote there
# or beside it, nor what the system put there when it made the user.
changed_here() {
    [ -e "$target" ] || [ -L "$target" ] || return 1
    [ -f "$target" ] && [ ! -L "$target" ] || return 0
    case $(sum_of "$target") in
    '') return 0 ;;
    "$sum" | "$(record "$key")" | "$(record "$key.beside")") return 1 ;;
    esac
    ! cmp -s "$target" "/etc/skel/$path"
}

apply() {
    incoming=$home_stamps/incoming
    field stage 'files for home'
    field send ''
    while IFS=' ' read -r mode size sum key path && [ "$mode" != end ]; do
        path=${path#./} path=${path%/.}
        target=$HOME/$path
        (umask 077 && head -c "$size" >"$incoming") ||
            fail "cannot write to $home_stamps in the VM"
        [ "$(sum_of "$incoming")" = "$sum" ] ||
            fail "the file ~/$path did not arrive whole: it changed here meanwhile, or the VM's disk is full"
        chmod "$mode" "$incoming"
        mkdir -p "${target%/*}" 2>/dev/null ||
            fail "cannot make the directory of ~/$path in the VM"
        if changed_here; then
            # Once is enough, whatever became of it.
            [ "$(record "$key.beside")" != "$sum" ] || continue
            mv -fT "$incoming" "$target.agentvm-new" ||
                fail "cannot write ~/$path.agentvm-new in the VM"
            printf '%s' "$sum" >"$home_stamps/$key.beside"
            field kept "$path"
        else
            mv -fT "$incoming" "$target" || fail "cannot write ~/$path in the VM"
            printf '%s' "$sum" >"$home_stamps/$key"
        fi
    done
    [ "$mode" = end ] || fail 'the connection was cut off'
    rm -f "$incoming"
    result=installed
}
