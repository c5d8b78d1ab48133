# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_clsess_global_optspecs
    string join \n S/socket= L/label= config= v/verbose q/quiet color= h/help V/version
end

function __fish_clsess_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_clsess_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_clsess_using_subcommand
    set -l cmd (__fish_clsess_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c clsess -n "__fish_clsess_needs_command" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_needs_command" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_needs_command" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_needs_command" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_needs_command" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_needs_command" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_needs_command" -s V -l version -d 'Print version'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "new" -d 'Make a session and wait until it is ready; prints its name'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "send" -d 'Run a prompt in a session; prints its answer'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "result" -d 'Print the answer of a turn, and wait for it while it runs'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "ls" -d 'List the sessions'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "list" -d 'List the sessions'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "show" -d 'Show everything about one session'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "attach" -d 'Look at a session\'s terminal and type into it; Ctrl-\\ detaches'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "capture" -d 'Print what is on a session\'s screen'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "type" -d 'Type text into a session\'s terminal'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "keys" -d 'Press keys in a session\'s terminal'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "wait" -d 'Wait until sessions are idle, ask something, or have ended'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "log" -d 'List the turns of a session: when, prompt, answer, outcome, cost'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "events" -d 'Print everything that happens, a line of JSON each'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "queue" -d 'List, take back or run the prompts that wait in a session'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "interrupt" -d 'End the running turn; the session stays'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "questions" -d 'List the questions of agents that wait for an answer'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "approve" -d 'Allow what an agent asks to do, or its plan'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "deny" -d 'Say no to an agent: to what it asks to do, its plan, or its question'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "answer" -d 'Answer a question of an agent'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "rename" -d 'Give a session another name'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "kill" -d 'End sessions and forget them; says how to take up their conversations again'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "restart" -d 'Start a session\'s agent or program again; a conversation is kept'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "broker" -d 'The background broker itself'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "doctor" -d 'Say what is wrong around the broker and its agents, and what to do about it'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "version" -d 'Print the versions of this command and of the running broker'
complete -c clsess -n "__fish_clsess_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c clsess -n "__fish_clsess_using_subcommand new" -s c -l cwd -d 'The session\'s directory (default: the current one)' -r -f -a "(__fish_complete_directories)"
complete -c clsess -n "__fish_clsess_using_subcommand new" -l profile -d 'Settings of [profile.NAME] in the config' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l driver -d 'What the agent\'s body is (default: stream)' -r -f -a "stream\t'A warm child, which nobody sees'
tui\t'The agent\'s own interface'"
complete -c clsess -n "__fish_clsess_using_subcommand new" -l model -d 'The model' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l permission-mode -d 'The agent\'s permission mode (default: manual)' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l system-prompt -d 'Replace the agent\'s system prompt' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l append-system-prompt -d 'Add to the agent\'s system prompt' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l agent -d 'The agent\'s persona of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l max-turns -d 'Rounds of the model in one turn at most' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -s e -l env -d 'Set a variable in the environment of the agent or program (repeatable)' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l agent-arg -d 'Another argument for the agent, as it is (repeatable)' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l start-timeout -d 'How long the agent may take to be ready (default: 60s)' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l resume -d 'Take up this conversation of the agent' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l size -d 'Size of the terminal while nobody is attached (default: 80x24)' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand new" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand new" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand new" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand new" -l trust -d 'Vouch for the directory: its own hooks and settings will run'
complete -c clsess -n "__fish_clsess_using_subcommand new" -s A -d 'Fine if it exists already'
complete -c clsess -n "__fish_clsess_using_subcommand new" -l no-wait -d 'Do not wait until the agent is ready'
complete -c clsess -n "__fish_clsess_using_subcommand new" -l json -d 'Print the session as JSON'
complete -c clsess -n "__fish_clsess_using_subcommand new" -s a -l attach -d 'Attach to it at once'
complete -c clsess -n "__fish_clsess_using_subcommand new" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand new" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand new" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand send" -s o -l output -d 'What to print' -r -f -a "text\t'The answer and nothing else'
json\t'One object about the turn'
stream-json\t'An event a line'"
complete -c clsess -n "__fish_clsess_using_subcommand send" -l stream -d 'All texts of the turn as they come, or the answer once' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand send" -l timeout -d 'Interrupt the turn after this time (default: 30m; 0: never)' -r
complete -c clsess -n "__fish_clsess_using_subcommand send" -l deadline -d 'Give the turn up after this time, the queue and questions included (0: never)' -r
complete -c clsess -n "__fish_clsess_using_subcommand send" -l on-busy -d 'What to do when the session is busy (default: queue)' -r -f -a "queue\t'Wait behind those that wait already'
fail\t'End with exit code 5'
interrupt\t'Interrupt the running turn, and be the next'
steer\t'Put the prompt into the running turn'"
complete -c clsess -n "__fish_clsess_using_subcommand send" -l on-question -d 'What becomes of the agent\'s questions (default: wait where stderr is a terminal, else deny)' -r -f -a "wait\t'It waits for an answer: clsess questions, approve, deny, answer'
deny\t'The agent is told that nobody is there, and goes on'
fail\t'The turn ends with exit code 6'"
complete -c clsess -n "__fish_clsess_using_subcommand send" -l on-limit -d 'What to do when the provider limits the rate or is overloaded (default: fail)' -r -f -a "fail\t'End with exit code 7'
wait\t'Wait until the limit resets'"
complete -c clsess -n "__fish_clsess_using_subcommand send" -l on-crash -d 'What to do when the agent dies after a tool has started (default: report). A turn in which none had is finished by the next agent' -r -f -a "report\t'End with exit code 9: to run it again would repeat what the tool has done'
rerun\t'Run it again all the same'"
complete -c clsess -n "__fish_clsess_using_subcommand send" -l key -d 'Never run the prompt of this key twice: the first one\'s answer is given again' -r
complete -c clsess -n "__fish_clsess_using_subcommand send" -s f -l file -d 'Read the prompt from a file (`-`: stdin); with words it follows them after a blank line' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand send" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand send" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand send" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand send" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand send" -s A -d 'Make the session when it is missing'
complete -c clsess -n "__fish_clsess_using_subcommand send" -l no-wait -d 'Print the turn\'s id as soon as the prompt is safely queued'
complete -c clsess -n "__fish_clsess_using_subcommand send" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand send" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand result" -s o -l output -d 'What to print' -r -f -a "text\t'The answer and nothing else'
json\t'One object about the turn'
stream-json\t'An event a line'"
complete -c clsess -n "__fish_clsess_using_subcommand result" -l stream -d 'All texts of the turn as they come, or the answer once' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand result" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand result" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand result" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand result" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand result" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand result" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand result" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand ls" -s F -l format -d 'Print this for each session, with #{name}, #{id}, #{state}, #{since}, #{driver}, #{queue}, #{turns}, #{attached}, #{idle_s} and #{cwd} filled in' -r
complete -c clsess -n "__fish_clsess_using_subcommand ls" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand ls" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand ls" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand ls" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand ls" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand ls" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand ls" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand list" -s F -l format -d 'Print this for each session, with #{name}, #{id}, #{state}, #{since}, #{driver}, #{queue}, #{turns}, #{attached}, #{idle_s} and #{cwd} filled in' -r
complete -c clsess -n "__fish_clsess_using_subcommand list" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand list" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand list" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand list" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand list" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand list" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand list" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand show" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand show" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand show" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand show" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand show" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand show" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand show" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand attach" -l detach-keys -d 'The keys that detach, as C-\\ or C-b d (default: C-\\)' -r
complete -c clsess -n "__fish_clsess_using_subcommand attach" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand attach" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand attach" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand attach" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand attach" -s r -l read-only -d 'Only look: what is typed is not for the program'
complete -c clsess -n "__fish_clsess_using_subcommand attach" -s x -l exclusive -d 'Detach the others'
complete -c clsess -n "__fish_clsess_using_subcommand attach" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand attach" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand attach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand capture" -l history -d 'With so many lines of history in front' -r
complete -c clsess -n "__fish_clsess_using_subcommand capture" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand capture" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand capture" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand capture" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand capture" -l ansi -d 'With colours and the like'
complete -c clsess -n "__fish_clsess_using_subcommand capture" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand capture" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand capture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand type" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand type" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand type" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand type" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand type" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand type" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand type" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand keys" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand keys" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand keys" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand keys" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand keys" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand keys" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand keys" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand wait" -l for -d 'What to wait for' -r -f -a "idle\t'Nothing runs and nothing is queued; a session that is asleep counts, and any program'
question\t'The agent asks something'
exit\t'There is no agent, or the program has exited'
change\t'The state, the queue or the number of turns is another one than now'"
complete -c clsess -n "__fish_clsess_using_subcommand wait" -l timeout -d 'End with exit code 124 after this time (0: never)' -r
complete -c clsess -n "__fish_clsess_using_subcommand wait" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand wait" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand wait" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand wait" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand wait" -l any -d 'Until it is so of any of them, whose name is printed'
complete -c clsess -n "__fish_clsess_using_subcommand wait" -l json -d 'Print the sessions as JSON'
complete -c clsess -n "__fish_clsess_using_subcommand wait" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand wait" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand log" -s n -l lines -d 'The last turns only' -r
complete -c clsess -n "__fish_clsess_using_subcommand log" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand log" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand log" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand log" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand log" -s f -l follow -d 'Go on with each turn as it ends, until the session is gone'
complete -c clsess -n "__fish_clsess_using_subcommand log" -l json -d 'Print a line of JSON for each turn'
complete -c clsess -n "__fish_clsess_using_subcommand log" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand log" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand events" -l since -d 'Begin behind the event of this number, as far as that is kept (0: with all that is kept); a `gap` says what is not' -r
complete -c clsess -n "__fish_clsess_using_subcommand events" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand events" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand events" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand events" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand events" -l schema -d 'Print the JSON Schema of the lines instead'
complete -c clsess -n "__fish_clsess_using_subcommand events" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand events" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -l json -d 'Print JSON; stands before the command'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -a "ls" -d 'List the turns that wait (the default)'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -a "list" -d 'List the turns that wait (the default)'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -a "rm" -d 'Take a turn back that waits'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -a "clear" -d 'Take back all turns that wait'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -a "run" -d 'Run the turns that are held back: by a failed start, a limit, or the machine\'s death'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and not __fish_seen_subcommand_from ls list rm clear run help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -l json -d 'Print JSON; stands before the command'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -l json -d 'Print JSON; stands before the command'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -l json -d 'Print JSON; stands before the command'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -l json -d 'Print JSON; stands before the command'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from clear" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -l json -d 'Print JSON; stands before the command'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List the turns that wait (the default)'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "rm" -d 'Take a turn back that waits'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "clear" -d 'Take back all turns that wait'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "run" -d 'Run the turns that are held back: by a failed start, a limit, or the machine\'s death'
complete -c clsess -n "__fish_clsess_using_subcommand queue; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c clsess -n "__fish_clsess_using_subcommand interrupt" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand interrupt" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand interrupt" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand interrupt" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand interrupt" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand interrupt" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand interrupt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand questions" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand questions" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand questions" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand questions" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand questions" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand questions" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand questions" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand questions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand approve" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand approve" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand approve" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand approve" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand approve" -l always -d 'Keep the rules that the agent suggests, so that it does not ask again'
complete -c clsess -n "__fish_clsess_using_subcommand approve" -l json -d 'Print the question as JSON'
complete -c clsess -n "__fish_clsess_using_subcommand approve" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand approve" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand approve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand deny" -s m -l message -d 'What the agent is told' -r
complete -c clsess -n "__fish_clsess_using_subcommand deny" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand deny" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand deny" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand deny" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand deny" -l json -d 'Print the question as JSON'
complete -c clsess -n "__fish_clsess_using_subcommand deny" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand deny" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand deny" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand answer" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand answer" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand answer" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand answer" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand answer" -l json -d 'Print the question as JSON'
complete -c clsess -n "__fish_clsess_using_subcommand answer" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand answer" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand answer" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand rename" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand rename" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand rename" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand rename" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand rename" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand rename" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand rename" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand kill" -l grace -d 'How long an agent or program may take to end by itself' -r
complete -c clsess -n "__fish_clsess_using_subcommand kill" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand kill" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand kill" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand kill" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand kill" -l all -d 'Every session'
complete -c clsess -n "__fish_clsess_using_subcommand kill" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand kill" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand kill" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand kill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand restart" -l start-timeout -d 'How long the agent may take to be ready (default: 60s)' -r
complete -c clsess -n "__fish_clsess_using_subcommand restart" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand restart" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand restart" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand restart" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand restart" -l fresh -d 'Begin a new conversation'
complete -c clsess -n "__fish_clsess_using_subcommand restart" -l update-env -d 'Use the environment of this command from now on'
complete -c clsess -n "__fish_clsess_using_subcommand restart" -l json -d 'Print the session as JSON'
complete -c clsess -n "__fish_clsess_using_subcommand restart" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand restart" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -f -a "run" -d 'Run the broker in the foreground'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -f -a "start" -d 'Start the broker in the background; when this returns 0 it is listening'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -f -a "stop" -d 'Stop the broker and its agents; returns when everything is gone'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -f -a "upgrade" -d 'Replace the running broker by this program; turns and waiting commands go on'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -f -a "status" -d 'Say whether a broker runs, and where'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -f -a "logs" -d 'Print the broker\'s log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and not __fish_seen_subcommand_from run start stop upgrade status logs help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from run" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from run" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from run" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from run" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from run" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -l again -d 'In place of one that is gone: not if it dies again and again'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -l held -d 'By a holder: not in place of one that has ended as it was told to'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -l grace -d 'How long agents and programs may take to end by themselves' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -l force -d 'Also by the same program, or an older version'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -s n -l lines -d 'The last lines only' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "run" -d 'Run the broker in the foreground'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "start" -d 'Start the broker in the background; when this returns 0 it is listening'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "stop" -d 'Stop the broker and its agents; returns when everything is gone'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "upgrade" -d 'Replace the running broker by this program; turns and waiting commands go on'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "status" -d 'Say whether a broker runs, and where'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "logs" -d 'Print the broker\'s log'
complete -c clsess -n "__fish_clsess_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand version" -s S -l socket -d 'The broker\'s socket' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand version" -s L -l label -d 'A separate broker of this name' -r
complete -c clsess -n "__fish_clsess_using_subcommand version" -l config -d 'The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)' -r -F
complete -c clsess -n "__fish_clsess_using_subcommand version" -l color -d 'Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set' -r -f -a "auto\t'On a terminal'
always\t''
never\t''"
complete -c clsess -n "__fish_clsess_using_subcommand version" -l json -d 'Print JSON'
complete -c clsess -n "__fish_clsess_using_subcommand version" -s v -l verbose -d 'Log more (twice: everything); only `broker start` and `broker run` log'
complete -c clsess -n "__fish_clsess_using_subcommand version" -s q -l quiet -d 'Say nothing but errors'
complete -c clsess -n "__fish_clsess_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "new" -d 'Make a session and wait until it is ready; prints its name'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "send" -d 'Run a prompt in a session; prints its answer'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "result" -d 'Print the answer of a turn, and wait for it while it runs'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "ls" -d 'List the sessions'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "show" -d 'Show everything about one session'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "attach" -d 'Look at a session\'s terminal and type into it; Ctrl-\\ detaches'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "capture" -d 'Print what is on a session\'s screen'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "type" -d 'Type text into a session\'s terminal'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "keys" -d 'Press keys in a session\'s terminal'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "wait" -d 'Wait until sessions are idle, ask something, or have ended'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "log" -d 'List the turns of a session: when, prompt, answer, outcome, cost'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "events" -d 'Print everything that happens, a line of JSON each'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "queue" -d 'List, take back or run the prompts that wait in a session'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "interrupt" -d 'End the running turn; the session stays'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "questions" -d 'List the questions of agents that wait for an answer'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "approve" -d 'Allow what an agent asks to do, or its plan'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "deny" -d 'Say no to an agent: to what it asks to do, its plan, or its question'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "answer" -d 'Answer a question of an agent'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "rename" -d 'Give a session another name'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "kill" -d 'End sessions and forget them; says how to take up their conversations again'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "restart" -d 'Start a session\'s agent or program again; a conversation is kept'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "broker" -d 'The background broker itself'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "doctor" -d 'Say what is wrong around the broker and its agents, and what to do about it'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "version" -d 'Print the versions of this command and of the running broker'
complete -c clsess -n "__fish_clsess_using_subcommand help; and not __fish_seen_subcommand_from new send result ls show attach capture type keys wait log events queue interrupt questions approve deny answer rename kill restart broker doctor version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "ls" -d 'List the turns that wait (the default)'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "rm" -d 'Take a turn back that waits'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "clear" -d 'Take back all turns that wait'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from queue" -f -a "run" -d 'Run the turns that are held back: by a failed start, a limit, or the machine\'s death'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "run" -d 'Run the broker in the foreground'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "start" -d 'Start the broker in the background; when this returns 0 it is listening'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "stop" -d 'Stop the broker and its agents; returns when everything is gone'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "upgrade" -d 'Replace the running broker by this program; turns and waiting commands go on'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "status" -d 'Say whether a broker runs, and where'
complete -c clsess -n "__fish_clsess_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "logs" -d 'Print the broker\'s log'
