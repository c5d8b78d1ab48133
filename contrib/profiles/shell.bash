# bash as a session with turns: it marks its prompts and its commands' output (OSC 133).
#
#   [profile.shell]
#   command = ["bash", "--rcfile", "/usr/share/clsess/contrib/profiles/shell.bash", "-i"]
#   turns = "marks"
#
# What is in ~/.bashrc holds. bash 4.4 or later.

[ -r ~/.bashrc ] && . ~/.bashrc

# A prompt is to be run as it is: without history expansion, and not in your own history.
set +o histexpand
unset HISTFILE
# Prompts of several lines are one command line.
bind 'set enable-bracketed-paste on' 2>/dev/null
bind 'set enable-active-region off' 2>/dev/null

# Whose the marks are: those of another shell in this one do not count.
__clsess_id="bash-$$-$RANDOM$RANDOM"

# First of all that comes before a prompt, since it tells the status; what follows keeps that.
__clsess_ended() {
    local status=$?
    printf '\e]133;D;%s;aid=%s\a' "$status" "$__clsess_id"
    return "$status"
}

# Last of all: something else may have made the prompt anew.
__clsess_prompt() {
    local status=$?
    local begins='\[\e]133;A;aid='$__clsess_id'\a\]' ends='\[\e]133;B;aid='$__clsess_id'\a\]'
    case $PS1 in
        *"$ends") ;;
        *) PS1=$begins$PS1$ends ;;
    esac
    PS0='\e]133;C;aid='$__clsess_id'\a'
    return "$status"
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)); then
    PROMPT_COMMAND=(__clsess_ended "${PROMPT_COMMAND[@]}" __clsess_prompt)
else
    PROMPT_COMMAND="__clsess_ended${PROMPT_COMMAND:+; $PROMPT_COMMAND}; __clsess_prompt"
fi
