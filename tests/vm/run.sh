#!/bin/bash
# Boots the guest, runs one command in it, prints what it prints, and exits with its status.
# usage: run.sh [-K] [-w] [-i SHIFT] [-d SITE_DIR] [-p PAYLOAD_DIR] [-o OUT_DIR] [-c CPU] [-s CPUS] [-m MEM_MB]
#               [-t TIMEOUT_S] [-l CONSOLE_LOG] [-q 'QEMU ARGUMENTS'] [-a 'KERNEL ARGUMENTS']
#               -- COMMAND...
# -K: the CPUs say they are Kunpeng 920 cores on two dies, with a NUMA node each, and the RAM from
#     4 GiB up is left to module/rigsoc.c, which plays registers in it. At most 8 CPUs.
# -w: the command makes a file /rig/ready when it has all that it needs; until then the guest has not
#     come up (loading modules may hang as well as booting).
# -i: the guest's clock advances by 2^SHIFT ns an instruction, and by nothing else: however busy the
#     host is, the guest's times are right. Waiting takes no time, and instructions can be counted.
# -d: SITE_DIR (from wheel.sh) becomes a read-only disk, /site, first on PYTHONPATH and PATH.
# -p: these files are in /payload, the working directory.
# -o: what the command leaves in /rig/out comes back here.
# Status 123: the guest did not come up, and the command never began; 124: timed out; 125: the guest
# died before it left a status.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

came_up=started
payload='' out='' site='' kunpeng='' shift_ns='' log='' kernel_args=''
cpu=max,pauth-impdef=on cpus=2 memory=2048 time=600
BOOT_TIME=180 # some 5 s where nothing else runs
machine=virt,gic-version=3
extra=()
while getopts Kwi:d:p:o:c:s:m:t:l:q:a: flag; do
	case $flag in
	K) kunpeng=1 ;;
	w) came_up=ready ;;
	i) shift_ns=$OPTARG ;;
	d) site=$OPTARG ;;
	p) payload=$OPTARG ;;
	o) out=$OPTARG ;;
	c) cpu=$OPTARG ;;
	s) cpus=$OPTARG ;;
	m) memory=$OPTARG ;;
	t) time=$OPTARG ;;
	l) log=$OPTARG ;;
	q) read -ra extra <<<"$OPTARG" ;;
	a) kernel_args=$OPTARG ;;
	*)
		usage_of "$0"
		exit 2
		;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || {
	usage_of "$0"
	exit 2
}
[ -f "$IMAGE/inputs" ] || fail "there is no image in $IMAGE: run build.sh first"

WORK=$(mktemp -d)
QEMU=
trap 'rm -rf "$WORK"' EXIT
trap '[ -z "$QEMU" ] || kill "$QEMU" 2>/dev/null' INT TERM

# ---- the machine ----

kernel=$IMAGE/vmlinuz
board=()
if [ -n "$kunpeng" ]; then
	# GICv3 would match its redistributors to CPUs by affinities that are ours by then.
	machine=virt,gic-version=2,virtualization=on
	cpu=neoverse-n1
	memory=3200
	kernel=$IMAGE/vmlinuz-kp
	kernel_args="mem=3G $kernel_args"
	nodes=('' '')
	for ((i = 0; i < cpus; i++)); do nodes[i % 2]+=,cpus=$i; done # as shim.S puts them on dies
	board=(
		-object 'memory-backend-ram,size=1536M,id=ram0' -numa "node,nodeid=0,memdev=ram0${nodes[0]}"
		-object 'memory-backend-ram,size=1664M,id=ram1' -numa "node,nodeid=1,memdev=ram1${nodes[1]}"
	)
	"$VM/mkdtb.sh" "$WORK/kunpeng.dtb" \
		-M "$machine" -cpu "$cpu" -smp "$cpus" -m "$memory" "${board[@]}"
	board+=(-dtb "$WORK/kunpeng.dtb")
	# For the PCIe counters: 0000:01:00.0 and 0000:02:00.0, each below a root port (0000:00:02.0 and
	# 0000:00:03.0), and 0000:00:01.0 below none.
	board+=(-device pci-testdev,addr=1
		-device pcie-root-port,id=port2,addr=2,chassis=1 -device qemu-xhci,bus=port2
		-device pcie-root-port,id=port3,addr=3,chassis=2 -device qemu-xhci,bus=port3)
fi
accel=tcg,thread=multi,tb-size=512
if [ -n "$shift_ns" ]; then
	accel=tcg,tb-size=512 # one host thread plays all CPUs, in turns
	board+=(-icount "shift=$shift_ns,sleep=off")
fi

# ---- what goes in ----

share=$WORK/share
mkdir -p "$share/out"
printf '%s\n' "$*" >"$share/cmd"
# One archive: 9p is slow per file under emulation.
[ -z "$payload" ] || tar -c -f "$share/payload.tar" -C "$payload" .

# QEMU numbers these disks backwards: the last one is /dev/vda.
disks=()
if [ -n "$site" ]; then
	inodes=$(($(find "$site" | wc -l) + 100))
	size=$(($(du -sk "$site" | cut -f 1) * 6 / 5 + 8192))
	mke2fs -q -t ext4 -O ^has_journal -m 0 -N $inodes -d "$site" "$WORK/site.img" ${size}k >/dev/null
	disks+=(-drive "file=$WORK/site.img,format=raw,if=none,id=site,readonly=on"
		-device "virtio-blk-device,drive=site")
fi
disks+=(-drive "file=$IMAGE/root.img,format=raw,if=none,id=root,readonly=on"
	-device "virtio-blk-device,drive=root")

# ---- the run ----

mkfifo "$WORK/output"
cat "$WORK/output" &
printer=$!
exec 9>"$WORK/output" # held open, so that neither end blocks or ends early
timeout --foreground -k 5 "$time" qemu-system-aarch64 \
	-M "$machine" -cpu "$cpu" -accel "$accel" -smp "$cpus" -m "$memory" \
	-nodefaults -nic none -display none -no-reboot \
	-kernel "$kernel" -initrd "$IMAGE/initrd.img" \
	-append "console=ttyAMA0 loglevel=6 panic=-1 rdinit=/init mitigations=off $kernel_args" \
	-serial "file:$WORK/console.log" "${board[@]}" "${disks[@]}" \
	-fsdev "local,id=share,path=$share,security_model=none,multidevs=remap" \
	-device virtio-9p-device,fsdev=share,mount_tag=rig \
	-device virtio-serial-device -chardev "file,id=output,path=$WORK/output" \
	-device virtserialport,chardev=output,name=rig.out \
	"${extra[@]}" </dev/null 9>&- &
QEMU=$!
(
	for ((i = 0; i < BOOT_TIME; i++)); do
		sleep 1
		[ ! -e "$share/$came_up" ] || exit 0
	done
	kill "$QEMU" 2>/dev/null
) >/dev/null 2>&1 9>&- &
watchdog=$!
status=0
wait $QEMU || status=$?
kill "$watchdog" 2>/dev/null || true
exec 9>&-
wait $printer

# ---- what comes out ----

[ -z "$log" ] || cp "$WORK/console.log" "$log"
if [ -n "$out" ]; then
	mkdir -p "$out"
	cp -a "$share/out/." "$out/"
fi
[ ! -s "$share/rc" ] || exit "$(cat "$share/rc")"
say "the guest left no exit status (QEMU's: $status); the end of its console:"
tail -n 15 "$WORK/console.log" >&2
[ -e "$share/$came_up" ] || exit 123
[ "$status" != 124 ] || exit 124
exit 125
