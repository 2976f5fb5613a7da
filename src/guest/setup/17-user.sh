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
