#!/bin/bash
# Makes the device tree of the Kunpeng guest: QEMU's own, with the CPUs' identities from shim/shim.S.
# usage: mkdtb.sh OUT.dtb QEMU-MACHINE-ARGUMENTS...   (the very arguments of the later run)
set -euo pipefail

# A CPU's affinity by its number: die << 19 | cluster << 16 | core << 8. The table `ids` of shim.S.
AFFINITIES=(80000 1a0000 80100 1a0100 90000 1b0000 90100 1b0100)

dtb=$1
shift
qemu-system-aarch64 "$@" -machine dumpdtb="$dtb" -display none -nodefaults -nic none >/dev/null 2>&1

# The clusters are numbered as they come, and hold the CPUs of one die that stand next to each other.
declare -A cluster_of=() cores_in=()
fdtput -r "$dtb" /cpus/cpu-map
number=0
while read -r node; do
	path=/cpus/$node
	affinity=${AFFINITIES[$number]}
	fdtput -t x "$dtb" "$path" reg "$affinity"
	fdtput -t s "$dtb" "$path" enable-method spin-table
	fdtput -t x "$dtb" "$path" cpu-release-addr 1 100800
	group=$((0x$affinity >> 16))
	cluster=${cluster_of[$group]:=${#cluster_of[@]}}
	core=${cores_in[$group]:-0}
	cores_in[$group]=$((core + 1))
	fdtput -p -t x "$dtb" "/cpus/cpu-map/socket0/cluster$cluster/core$core" cpu \
		"$(fdtget -t x "$dtb" "$path" phandle)"
	number=$((number + 1))
done < <(fdtget -l "$dtb" /cpus | grep '^cpu@' | sort -t@ -k2 -n)
