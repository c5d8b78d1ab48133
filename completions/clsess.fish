# fish completion of clsess: `clsess complete` says what the last word may be.

function __clsess_answer
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    clsess complete $words[2..] "$word" 2>/dev/null
end

function __clsess_are_files
    set -l answer (__clsess_answer)
    test "$answer[1]" = files
end

function __clsess_values
    set -l answer (__clsess_answer)
    set -l word (commandline -ct)
    # Of --option=value only the value is completed.
    set -l option (string match -r -- '^--[^=]*=' "$word")
    switch "$answer[1]"
        case values
            for value in $answer[2..]
                printf '%s\n' "$option$value"
            end
        case directories
            for directory in (__fish_complete_directories (string replace -- "$option" '' "$word") '')
                printf '%s\n' "$option$directory"
            end
        case commands
            __fish_complete_command
    end
end

# Files are completed by fish itself, which knows best how they are written.
complete -c clsess -n __clsess_are_files -F
complete -c clsess -n 'not __clsess_are_files' -f -k -a '(__clsess_values)'
