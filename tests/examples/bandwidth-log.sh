#!/bin/sh
# Writes what a machine's devices do, a line a metric and place every so many seconds, until it is ended.
#
#   bandwidth-log.sh                                     memory, by NUMA node, every 10 seconds
#   bandwidth-log.sh ddr-read-bw,pcie-rx-mrd-bw 60 --bdf 7a:01.0 >>bandwidth.log
#
# A line: start, metric, place, value, unit. 'kperf device --list' tells which metrics there are.
set -eu
metrics=${1-ddr-read-bw,ddr-write-bw}
seconds=${2-10}
[ $# -lt 2 ] || shift
[ $# -lt 1 ] || shift

# The status of a pipe is that of its end: kperf's comes by another way.
exec 3>&1
status=$({ { kperf device "$metrics" -I $((seconds * 1000)) --csv -q "$@" || echo $? >&4; } | awk -F, '
    { sub(/\r$/, "") }
    NR == 1 { for (i = 1; i <= NF; i++) name[i] = $i; next }
    {
        place = ""
        for (i = 1; i <= NF; i++) {
            value[name[i]] = $i
            if (name[i] ~ /^(socket|numa|cluster|core|cpu|channel|bdf)$/ && $i != "")
                place = place (place == "" ? "" : ",") name[i] "=" $i
        }
        print value["start"], value["metric"], place, value["value"], value["unit"]
        fflush()
    }' >&3; } 4>&1)
exit "${status:-0}"
