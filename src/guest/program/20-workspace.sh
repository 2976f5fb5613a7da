
# Finding and making workspaces.

# read_marker NAME: sets $its_id and $its_ref to what that workspace's marker says. Fails where it
# names no repository.
read_marker() {
  [ -f "$root/$1/.git/config" ] || return 1
  read_plain_marker "$root/$1/.git/config" && return
  its_id=$(git config --file "$root/$1/.git/config" --get agentvm.repo) || return 1
  its_ref=$(git config --file "$root/$1/.git/config" --get agentvm.ref) || its_ref=''
}

# The same of a configuration file in which the marker stands as make_workspace writes it. Anything
# else, even if git would read it the same way, is left to git.
read_plain_marker() {
  its_id='' its_ref='' sections=0 inside=''
  while IFS= read -r line; do
    case $line in
      *\\) return 1 ;;
      '[agentvm]') sections=$((sections + 1)) inside=1 ;;
      *'['*[aA][gG][eE][nN][tT][vV][mM]*) return 1 ;;
      '['*) inside='' ;;
      # Of what stands there twice, git takes the last.
      "$tab"'repo = '*)
        [ -z "$inside" ] || { [ -z "$its_id" ] && its_id=${line#"$tab"repo = }; } || return 1 ;;
      "$tab"'ref = "refs/'*'"')
        [ -z "$inside" ] ||
          { [ -z "$its_ref" ] && its_ref=${line#"$tab"ref = \"} && its_ref=${its_ref%\"}; } || return 1 ;;
      *) [ -z "$inside" ] || return 1 ;;
    esac
  done <"$1"
  case $its_id in *[!0-9a-f]*) return 1 ;; esac
  case $its_ref in *[\\\"\;\#]*) return 1 ;; esac
  [ "$sections" = 1 ] && [ ${#its_id} = 32 ] && [ -n "$its_ref" ]
}

# marked NAME: whether that workspace belongs to $id and $ref.
marked() { read_marker "$1" && [ "$its_id" = "$id" ] && [ "$its_ref" = "$ref" ]; }

# Sets $name to the workspace of $id and $ref. An empty $id means the name $plain, as it is.
find_workspace() {
  if [ -z "$id" ]; then
    name=$plain
    read_marker "$name" && [ -n "$its_ref" ] && id=$its_id ref=$its_ref
    return
  fi
  for name in "$plain" "$hashed"; do
    [ -n "$name" ] && marked "$name" && return 0
  done
  # The repository may have had another name when the workspace was made, or somebody renamed it here.
  found=$(grep -lF -- "$id" "$root"/*/.git/config 2>/dev/null | sed 's|/\.git/config$||; s|.*/||' |
    while IFS= read -r name; do marked "$name" && printf '%s\n' "$name"; done)
  case $found in
    *"$nl"*) fail failed "more than one directory in $root in the VM is marked as the workspace of ${ref#refs/heads/}: $(printf %s "$found" | tr '\n' ' ')- take agentvm.ref out of .git/config in all but one" ;;
  esac
  name=$found
  [ -n "$name" ]
}

# A value for a git configuration file. Fails where what makes it is killed.
quoted() {
  value=$(printf %s "$1" | tr -d '\n\r' | sed 's/[\\"]/\\&/g')
  [ -z "$1" ] || [ -n "$value" ] || return 1
  printf '"%s"' "$value"
}

decoded() { printf %s "$1" | base64 -d; }

# What stands in a workspace's configuration: its marker, and what keeps work safe.
workspace_settings() {
  { name_here=$(decoded "$user_name") && email_here=$(decoded "$user_email") &&
    name_here=$(quoted "$name_here") && email_here=$(quoted "$email_here") &&
    ref_here=$(quoted "$ref"); } || return 1
  cat <<END
[agentvm]
	repo = $id
	ref = $ref_here
[user]
	name = $name_here
	email = $email_here
[commit]
	gpgSign = false
[tag]
	gpgSign = false
[receive]
	denyCurrentBranch = updateInstead
	shallowUpdate = true
[core]
	logAllRefUpdates = always
	fsync = all
[gc]
	pruneExpire = never
	reflogExpire = never
	reflogExpireUnreachable = never
	cruftPacks = true
END
}

# Takes the lock of whoever makes or moves workspaces.
lock_root() {
  can_write "$root/.lock" || fail failed "cannot write to $root in the VM"
  exec 8>"$root/.lock"
  flock -w 60 8 || fail failed 'another command is making a workspace and does not end'
}

unlock_root() { exec 8>&-; }

# Makes the workspace of $id and $ref, whole or not at all, under a lock that two sessions share.
make_workspace() {
  case $(git --version 2>/dev/null) in
    'git version 2.'[0-9].* | 'git version 2.'[12][0-9].* | 'git version 2.3'[0-8].*)
      fail program 'the VM needs git 2.39 or newer' ;;
    'git version '*) ;;
    *) fail program 'there is no git in the VM' ;;
  esac
  command -v flock >/dev/null || fail program 'there is no flock (util-linux) in the VM'
  mkdir -p "$root" || fail failed "cannot make $root in the VM"
  lock_root
  if find_workspace; then
    unlock_root
    return
  fi
  # Left by a session that was killed; only ever an empty repository.
  rm -rf "$root"/.new.*
  new=$(mktemp -d "$root/.new.XXXXXX") || fail failed "cannot write to $root in the VM"
  git init -q --object-format="$format" -b "${ref#refs/heads/}" "$new" >&2 ||
    fail failed 'git init failed in the VM'
  workspace_settings >>"$new/.git/config" || fail failed "cannot write to $root in the VM"
  # A marker that is not whole would never be found again.
  [ "$(git config --file "$new/.git/config" --get agentvm.ref)" = "$ref" ] ||
    fail failed "cannot write to $root in the VM"
  for name in "$plain" "$hashed"; do
    [ -n "$name" ] || continue
    # An empty directory is free; another spelling of the name is not, on file systems that fold.
    [ -d "$root/$name" ] && rmdir "$root/$name" 2>/dev/null
    [ -z "$(find "$root" -mindepth 1 -maxdepth 1 -iname "$name" -print)" ] || continue
    { mkdir "$root/$name" && mv "$new/.git" "$root/$name/.git" && rmdir "$new"; } ||
      fail failed "cannot write to $root in the VM"
    created=1
    unlock_root
    return
  done
  fail failed "no name is free for the workspace: $root/$hashed belongs to something else"
}
