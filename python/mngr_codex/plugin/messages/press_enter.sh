# Presses Enter on a message that was typed into codex's composer, and tells in one word what became of it.
# Run by the bash of the agent's host, with these variables: target (a tmux pane), home (CODEX_HOME), permissions (the
# marker of a question for approval, if it counts), welcome (what codex's login begins with), hints and hints_beside (what a
# dialog's last line has, as regular expressions), patterns (what a rollout has in it that has the message, one of them a
# line), head and ending (how the message begins, and the end of its last line), is_head_cut (1 if its first line is longer),
# is_command (1 for what may be a command of codex's own), command (its first word), shown_seconds, seconds, keys (how many
# to delete the message with).

pane() { tmux -u capture-pane "$@" -p -t "$target" 2>/dev/null; }
last_lines() { pane | grep -a '[^[:space:]]' | tail -n "$1"; }
# The composer's first line, or the choice of a dialog.
row() { pane | grep -a '^\(›\|!\)' | tail -n 1; }
is_empty() {
    pane -e | grep -a '›\|^[^ ]*!' | tail -n 1 |
        grep -aqE $'^(\x1b\[[0-9;:]*m)*›(\x1b\[[0-9;:]*m)* (\x1b\[[0-9;:]*m)*\x1b\[([0-9;:]*;)?2m'
}
# Whether the composer still has what was typed. A dialog that was opened has another row, or none; of a long message the
# first row comes into sight when the cursor goes there.
is_typed() {
    local last; last=$(row)
    if has_head "$last"; then return 0; fi
    [ -n "$typed" ] && [ "$last" = "$typed" ]
}
has_head() { case $1 in "› $head") ;; "› $head"*) [ "$is_head_cut" = 1 ] ;; *) return 1 ;; esac; }
# The last line above the composer, if a choice stands not far above it.
above_composer() {
    pane | awk '
        /^›/ { before = choice && NR - choice < 16 ? last : ""; if ($0 ~ /[^ ]/) last = $0; next }
        /› [0-9]+\. / { choice = NR }
        /[^ ]/ { last = $0 }
        END { print before }'
}
is_login() { [ -z "$(row)" ] && pane | grep -aqF -e "$welcome"; }
is_dialog() {
    [ -z "$permissions" ] || [ ! -e "$permissions" ] || return 0
    if is_login; then return 0; fi
    if above_composer | grep -aqE -e "$hints_beside"; then return 0; fi
    local last bottom lines=1; last=$(row)
    # The message itself may look like a choice, number and all.
    if has_head "$last"; then return 1; fi
    [ -n "$last" ] || lines=3
    # In a small terminal the message itself can be the last line.
    bottom=$(last_lines 1 | sed 's/^ *//; s/ *$//')
    case $ending in
    *"$bottom") ;;
    *) if last_lines $lines | grep -aqE -e "$hints"; then return 0; fi ;;
    esac
    printf '%s' "$last" | grep -aqE '^› [0-9]+\. '
}
has_ended() {
    case $(tmux display-message -p -t "$target" '#{pane_current_command}' 2>/dev/null) in
    '') return 0 ;;
    sh | bash | dash | zsh | fish | ksh | tcsh | csh) ;;
    *) return 1 ;;
    esac
    # A script that runs codex has the name of a shell, too; but the pane's own is then not in the foreground.
    local foreground own
    read -r foreground own < <(ps -o tpgid=,pgid= -p "$(tmux display-message -p -t "$target" '#{pane_pid}')" 2>/dev/null)
    [ -z "$own" ] || [ "$foreground" = "$own" ]
}
count() { pane | grep -acF -e "$1"; }
lengths() { find -H "$home/sessions" -name 'rollout-*.jsonl' -exec wc -c {} + 2>/dev/null; }
has_arrived() {
    local line length file before
    while read -r length file; do
        [ "$file" != total ] || continue
        before=$(printf '%s\n' "$old" | awk -v file="$file" '
            { sub(/^ */, ""); at = index($0, " "); if (substr($0, at + 1) == file) print substr($0, 1, at - 1) }')
        [ "$length" != "${before:-0}" ] || continue
        tail -c +"$(( ${before:-0} + 1 ))" "$file" | grep -aF '"role":"user"' | grep -aqF -e "$patterns" && return 0
    done <<<"$(lengths)"
    return 1
}
end=$(( SECONDS + shown_seconds ))
while is_empty; do
    if is_dialog; then echo blocked; exit; fi
    if [ "$SECONDS" -ge "$end" ]; then echo unseen; exit; fi
    sleep 0.03
done
# The lengths are taken before Enter, and only what comes behind them counts. A dialog may have come by now: codex runs
# the PermissionRequest hook before it asks, so its marker tells first.
if is_dialog; then echo blocked; exit; fi
old=$(lengths) refused=$(count 'disabled while a task is in progress') typed=$(row)
tmux send-keys -t "$target" Enter || { echo unsent; exit; }
begun=$SECONDS tries=0 looks=0
while :; do
    if has_arrived; then echo arrived; exit; fi
    looks=$(( looks + 1 ))
    if [ "$looks" -gt 3 ] && is_login; then echo login; exit; fi
    if [ "$is_command" = 1 ]; then
        if [ "$looks" -gt 3 ] && is_typed && [ "$(count "Unrecognized command '${command:0:20}")" -gt 0 ]; then
            echo unrecognized; exit
        fi
        if [ "$(count 'disabled while a task is in progress')" -gt "$refused" ]; then echo refused; exit; fi
        if [ "$looks" -gt 3 ] && { is_empty || is_dialog || has_ended; }; then echo taken; exit; fi
        if [ "$looks" -gt 30 ] && [ -n "$(row)" ] && ! is_typed; then
            # It has left something else there.
            echo taken; exit
        fi
    fi
    # What is typed then goes to a shell.
    if [ "$looks" -gt 3 ] && has_ended; then echo ended; exit; fi
    [ $(( SECONDS - begun )) -lt "$seconds" ] || break
    # An Enter that was lost is pressed again, only while the composer still has the text.
    if [ "$tries" -lt 3 ] && [ $(( SECONDS - begun )) -ge $(( 2 + tries * 3 )) ] && is_typed && ! is_dialog; then
        tries=$(( tries + 1 ))
        tmux send-keys -t "$target" Enter
    fi
    if [ "$looks" -lt 30 ]; then sleep 0.05; else sleep 0.3; fi
done
if is_empty && pane | grep -aqF -e "↳ $head"; then echo queued; exit; fi
if is_typed && ! is_dialog; then
    # The cursor may be in front of the text or behind it.
    tmux send-keys -t "$target" -N "$keys" C-u
    tmux send-keys -t "$target" -N "$keys" C-k
    echo not-taken; exit
fi
echo unconfirmed
