# shellcheck shell=bash
# A login shell at a terminal, at which lines are typed when it asks for them.

prompt='@[0-9]+@ '

# log_in COMMAND: what makes the login shell.
log_in() {
    rm -f /tmp/keys /tmp/screen
    mkfifo /tmp/keys
    exec {keys}<>/tmp/keys
    script -qfc "$1" /dev/null </tmp/keys >/tmp/screen 2>&1 {keys}>&- &
    session=$!
    # shellcheck disable=SC2016  # for the shell at the terminal
    printf '%s\n' 'PS1='\''@$?@ '\''' >&"$keys"
    until [ "$(prompts)" -gt 0 ]; do still_there; done
}

log_out() {
    echo exit >&"$keys"
    wait "$session" || true
    exec {keys}>&-
}

prompts() { grep -aoE "$prompt" /tmp/screen | wc -l; }

still_there() {
    kill -0 "$session" || { echo "the terminal is gone"; return 1; }
    sleep 0.1
}

# type_line LINE: types it, and waits for the next prompt, however long that takes; the exit status is the
# line's. In a shell of a container that asks meanwhile it types `answers`.
type_line() {
    local before told=
    before=$(prompts)
    printf '%s\n' "$1" >&"$keys"
    until [ "$(prompts)" -gt "$before" ]; do
        if [ -z "$told" ] && [[ $1 == 'rt run'* ]] && tail -c 16 /tmp/screen | grep -qa ' # '; then
            told=yes
            printf '%s\n' "${answers[@]}" >&"$keys"
        fi
        still_there || return
    done
    return "$(grep -aoE "$prompt" /tmp/screen | tail -n 1 | tr -dc 0-9)"
}
# shellcheck disable=SC2016  # for the shell in the container
answers=('echo "from inside: $((6 * 7))"' 'exit')

# block FILE LANGUAGE NUMBER: that code block of the file, as it stands there.
block() {
    awk -v fence="\`\`\`$2" -v number="$3" '/^```/ {on = !inside && $0 == fence && ++found == number; inside = !inside; next} on' "$1"
}

# type_block FILE NUMBER: types its lines of shell, and leaves what appeared in $seen.
type_block() {
    local begin line status=0
    begin=$(stat -c %s /tmp/screen)
    while IFS= read -r line; do
        type_line "$line" || { status=$?; echo "line with status $status: $line"; break; }
    done < <(block "$1" sh "$2")
    seen=$(tail -c "+$((begin + 1))" /tmp/screen | tr -d '\r')
    return $status
}

# shows TEXT: the lines of it have appeared in this order.
shows() {
    local rest=$seen line
    while IFS= read -r line; do
        [[ $rest == *"$line"* ]] || { echo "not there: $line"; return 1; }
        rest=${rest#*"$line"}
    done <<<"$1"
}
