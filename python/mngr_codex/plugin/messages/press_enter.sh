# Presses Enter on a message that was pasted into Codex's composer, and prints its outcome as one word.
#
# Run by bash on the agent's host as `bash -c SCRIPT press_enter FILE`. FILE sets the variables below and is removed
# immediately. The message must not appear in the arguments of a command, where any user of the host could read it, so
# grep gets texts of the message through `-f`.
#
#   target                a tmux pane
#   home                  CODEX_HOME
#   permissions           the marker of an approval request, if it counts
#   welcome               the beginning of Codex's login screen
#   hints                 the keys in a dialog's last line, as a regular expression
#   hints_above_composer  the same for a dialog above the composer
#   patterns              texts that a rollout with the message contains, one per line
#   head, ending          the beginning of the message, and the end of its last line
#   is_head_cut           1 if the first line is longer than head
#   is_command, command   1 if Codex may run the message as its own command, and the beginning of its first word
#   shown_seconds         how long the pasted text may take to appear
#   seconds               how long to wait for the outcome
#   keys                  how often to press the keys that delete the message

. "$1" || { echo unsent; exit; }
rm -f "$1"

pane() { tmux -u capture-pane "$@" -p -t "$target" 2>/dev/null; }
last_lines() { pane | grep -a '[^[:space:]]' | tail -n "$1"; }
# The first line of the composer, or the selected choice of a dialog.
row() { pane | grep -a '^\(›\|!\)' | tail -n 1; }
is_empty() {
    pane -e | grep -a '›\|^[^ ]*!' | tail -n 1 |
        grep -aqE $'^(\x1b\[[0-9;:]*m)*›(\x1b\[[0-9;:]*m)* (\x1b\[[0-9;:]*m)*\x1b\[([0-9;:]*;)?2m'
}
# Whether the composer still contains the message. A dialog has another row, or none. The first row of a long message
# becomes visible only when the cursor moves there, so the row at the time of Enter counts as well.
is_typed() {
    local last; last=$(row)
    if has_head "$last"; then return 0; fi
    [ -n "$typed" ] && [ "$last" = "$typed" ]
}
has_head() { case $1 in "› $head") ;; "› $head"*) [ "$is_head_cut" = 1 ] ;; *) return 1 ;; esac; }
# The last non-blank line above the composer, if a choice is a few lines above it.
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
    if above_composer | grep -aqE -e "$hints_above_composer"; then return 0; fi
    local last bottom lines=1; last=$(row)
    # The message itself may look like a numbered choice.
    if has_head "$last"; then return 1; fi
    [ -n "$last" ] || lines=3
    # In a small terminal the message can be on the last line.
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
    # A script that runs Codex also has the name of a shell, but then the pane's own shell is not in the foreground.
    local foreground own
    read -r foreground own < <(ps -o tpgid=,pgid= -p "$(tmux display-message -p -t "$target" '#{pane_pid}')" 2>/dev/null)
    [ -z "$own" ] || [ "$foreground" = "$own" ]
}
count() { pane | grep -acF -f <(printf '%s\n' "$1"); }
# Deletes the text in the composer. The cursor may be before or after it.
delete_text() {
    tmux send-keys -t "$target" -N "$keys" C-u
    tmux send-keys -t "$target" -N "$keys" C-k
}
lengths() { find -H "$home/sessions" -name 'rollout-*.jsonl' -exec wc -c {} + 2>/dev/null; }
has_arrived() {
    local line length file before
    while read -r length file; do
        [ "$file" != total ] || continue
        before=$(printf '%s\n' "$old" | awk -v file="$file" '
            { sub(/^ */, ""); at = index($0, " "); if (substr($0, at + 1) == file) print substr($0, 1, at - 1) }')
        [ "$length" != "${before:-0}" ] || continue
        tail -c +"$(( ${before:-0} + 1 ))" "$file" | grep -aF '"role":"user"' | grep -aqF -f <(printf '%s\n' "$patterns") && return 0
    done <<<"$(lengths)"
    return 1
}
end=$(( SECONDS + shown_seconds ))
while is_empty; do
    if is_dialog; then echo blocked; exit; fi
    if [ "$SECONDS" -ge "$end" ]; then echo unseen; exit; fi
    sleep 0.03
done
# Only lines that are appended after these lengths count. By now a dialog may have opened: Codex runs the
# PermissionRequest hook before it asks, so the hook's marker appears first.
if is_dialog; then echo blocked; exit; fi
old=$(lengths) refused=$(count 'disabled while a task is in progress') typed=$(row)
tmux send-keys -t "$target" Enter || { echo unsent; exit; }
begun=$SECONDS tries=0 checks=0
while :; do
    if has_arrived; then echo arrived; exit; fi
    checks=$(( checks + 1 ))
    if [ "$checks" -gt 3 ] && is_login; then echo login; exit; fi
    if [ "$is_command" = 1 ]; then
        if [ "$checks" -gt 3 ] && is_typed && [ "$(count "Unrecognized command '${command:0:20}")" -gt 0 ]; then
            echo unrecognized; exit
        fi
        if [ "$(count 'disabled while a task is in progress')" -gt "$refused" ]; then
            # Codex 0.163 keeps the command in the composer, 0.171 removes it.
            if is_typed; then delete_text; fi
            echo refused; exit
        fi
        if [ "$checks" -gt 3 ] && { is_empty || is_dialog || has_ended; }; then echo taken; exit; fi
        # On a slow machine the checks take long.
        if { [ "$checks" -gt 30 ] || [ $(( SECONDS - begun )) -gt 2 ]; } && [ -n "$(row)" ] && ! is_typed; then
            # The command has replaced the text in the composer.
            echo taken; exit
        fi
    fi
    # A shell would get any further keys.
    if [ "$checks" -gt 3 ] && has_ended; then echo ended; exit; fi
    [ $(( SECONDS - begun )) -lt "$seconds" ] || break
    # A lost Enter is repeated, but only while the composer still contains the text.
    if [ "$tries" -lt 3 ] && [ $(( SECONDS - begun )) -ge $(( 2 + tries * 3 )) ] && is_typed && ! is_dialog; then
        tries=$(( tries + 1 ))
        tmux send-keys -t "$target" Enter
    fi
    if [ "$checks" -lt 30 ]; then sleep 0.05; else sleep 0.3; fi
done
if is_empty && pane | grep -aqF -f <(printf '%s\n' "↳ $head"); then echo queued; exit; fi
if is_typed && ! is_dialog; then
    delete_text
    echo not-taken; exit
fi
echo unconfirmed
