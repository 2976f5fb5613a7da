
# What is asked for: as a hook, or as the end of an ssh connection.

if [ -n "$hook" ]; then
  now=${AGENTVM_NOW:-0} nonce=${AGENTVM_SESSION-}
  # git 2.55 hands its own streams on to hooks. One that outlives git would hold ssh's connection open.
  exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&-
  case $hook in
    pre-receive) hook_pre_receive ;;
    push-to-checkout) hook_push_to_checkout "$1" ;;
  esac
  exit 1
fi

unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
nonce=$1 hash=$2 now=$3 verb=$4
shift 4
count=$#
while [ "$count" -gt 0 ]; do
  case $1 in
    p*) word=${1#p} ;;
    *) word=$(printf %s "${1#b}" | base64 -d && printf .) word=${word%.} ;;
  esac
  shift
  set -- "$@" "$word"
  count=$((count - 1))
done

case $verb in
  run | list-losses) ;;
  *)
    printf 'agentvm/1 %s %s\n' "$nonce" "$(date +%s)"
    # The connection may go away; what was begun is still ended in order.
    trap : HUP INT TERM PIPE
    # A host that no longer waits for this connection asks again over another one.
    read -r go && [ "$go" = go ] || exit 1 ;;
esac

# The verbs that concern one workspace begin with the four words that name it.
case $verb in
  receive | upload | losses | discard | find | run | snapshot | apply)
    id=$1 ref=$2 plain=$3 hashed=$4
    # A ~ has a meaning for some shells.
    case $hashed in *,*) hashed=${hashed%,*}~${hashed##*,} ;; esac
    shift 4 ;;
esac

case $verb in
  receive)
    format=$1 user_name=$2 user_email=$3
    receive ;;
  upload)
    quiet=$1
    upload ;;
  hello)
    [ "${1-}" != disk ] || tell_of_disk
    say end ok ;;
  find) locate "$1" "${2-}" ;;
  status)
    limit=$1
    status ;;
  list) list ;;
  losses)
    limit=$1 rebuildable=$2
    losses ;;
  list-losses) list_losses "$1" "$2" "$3" ;;
  discard) discard ;;
  snapshot) snapshot "$1" "$2" ;;
  apply) apply "$1" "$2" ;;
  trash) list_trash "$1" ;;
  sweep) sweep_trash "$1" ;;
  drop) drop_entry "$1" ;;
  restore) restore "$@" ;;
  list-for-saving) list_for_saving ;;
  save) save "$1" ;;
  changed-since) changed_since ;;
  unpack)
    user_name=$1 user_email=$2
    shift 2
    unpack "$@" ;;
  env) keep_variables "$1" ;;
  run)
    token=$1 user_name=$2 user_email=$3
    shift 3
    run "$@" ;;
  ended) ended "$1" ;;
  *) fail failed "the guest program has no verb $verb" ;;
esac
