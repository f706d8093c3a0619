# shellcheck shell=bash
# Runs a program ("$2" and what follows) until it ends by itself or standard input ends. The test
# process holds the other end of standard input, so the program cannot outlive it, however it dies.
# The pid of the program goes into the file "$1"; only that pid is ever killed.
set -u
pid_file=$1
shift

exec 3<&0
"$@" </dev/null 3<&- &
child=$!
echo "$child" >"$pid_file"

{
  read -r _ <&3
  kill -KILL "$child"
} 2>/dev/null &
watch=$!

exec 3<&- </dev/null
wait "$child" 2>/dev/null
code=$?
kill "$watch" 2>/dev/null
exit "$code"
