#!/bin/sh
# Runs a command and fails if one of its counts is above a limit: for a build that must not get slower.
#
#   limits.sh page-faults=5000 context-switches=200 -- ./job --fast
#
# Status: the command's own; 3 where a limit was exceeded or an event was not counted.
set -eu

limits=
events=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
    *=*[0-9]) ;;
    *) echo "limits.sh: '$1' is no EVENT=LIMIT" >&2; exit 2 ;;
    esac
    limits="$limits $1"
    events="$events${events:+,}${1%=*}"
    shift
done
[ $# -gt 1 ] || { echo "usage: limits.sh EVENT=LIMIT... -- COMMAND [ARG]..." >&2; exit 2; }
shift

counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

# The counts go to a file of their own: standard output and error are the command's.
status=0
kperf stat --csv -q -o "$counts" -e "$events" -- "$@" || status=$?

# CSV has a header row, so that columns are found by their names.
tr -d '\r' <"$counts" | awk -F, -v limits="$limits" '
    BEGIN { n = split(limits, pairs, " "); for (i = 1; i <= n; i++) {
        at = index(pairs[i], "="); limit[substr(pairs[i], 1, at - 1)] = substr(pairs[i], at + 1) } }
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    { event = $column["event"]; count = $column["count"] }
    count == "" { print "limits.sh: " event " was not counted" | "cat >&2"; bad = 1; next }
    count + 0 > limit[event] + 0 {
        print "limits.sh: " event ": " count ", above " limit[event] | "cat >&2"; bad = 1 }
    END { exit bad }' || exit 3
exit $status
