#!/bin/bash
# Builds the guest from Debian packages into the cache: kernel, initial RAM disk, root disk.
# usage: build.sh [--force]
# Does nothing where the image in the cache was made from these very files. RIG_KERNEL=PACKAGE
# chooses another kernel, which has an image of its own. Status 77: this machine cannot build it.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

GUEST_PACKAGES=(busybox-static python3 linux-perf strace)

# What the host needs: a command or file, and the package that has it.
HOST_NEEDS="
qemu-system-aarch64 qemu-system-arm
aarch64-linux-gnu-gcc-12 gcc-aarch64-linux-gnu
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
/usr/aarch64-linux-gnu/include/stdio.h libc6-dev-arm64-cross
fdtput device-tree-compiler
cpio cpio
mke2fs e2fsprogs
depmod kmod
make make
xz xz-utils
/usr/bin/python$GUEST_PYTHON python3
/usr/lib/python$GUEST_PYTHON/ensurepip python3-venv
"

# ---- the host ----

# Other programs hold apt's locks for a while: unattended upgrades, another job.
patiently() {
	local try
	for try in 1 2 3 4 5 6; do
		if "$@" >"$CACHE/apt.log" 2>&1; then
			return 0
		fi
		say "$1 failed (attempt $try of 6): $(tail -n 1 "$CACHE/apt.log")"
		sleep 10
	done
	cat "$CACHE/apt.log" >&2
	return 1
}

lacking_packages() {
	local what package
	while read -r what package; do
		[ -z "$what" ] || [ -e "$what" ] || command -v "$what" >/dev/null || echo "$package"
	done <<<"$HOST_NEEDS" | sort -u | xargs
}

# Some sandboxes forbid what an emulator does, such as writing the code that it runs.
try_qemu() {
	echo quit | timeout 60 qemu-system-aarch64 -M virt -accel tcg -S -nodefaults -display none \
		-monitor stdio >"$CACHE/qemu.log" 2>&1 ||
		cannot "QEMU does not run here: $(tail -n 1 "$CACHE/qemu.log")"
}

install_on_host() {
	local packages=$1
	[ "$(id -u)" = 0 ] || cannot "this is missing: $packages (as root: apt-get install $packages)"
	step "installing $packages"
	patiently apt-get update
	# shellcheck disable=SC2086
	patiently env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
		install -y --no-install-recommends $packages
}

check_host() {
	local packages debian=
	[ "$(uname -m)" = x86_64 ] || cannot "the guest is built on x86-64, and this is $(uname -m)"
	# shellcheck source=/dev/null
	[ ! -r /etc/os-release ] || debian=$(. /etc/os-release && echo "${ID-} ${VERSION_ID-}")
	[ "$debian" = "debian $GUEST_DEBIAN" ] ||
		cannot "the guest is built from Debian $GUEST_DEBIAN's packages, and this is ${debian:-no Debian}"
	packages=$(lacking_packages)
	[ -z "$packages" ] || install_on_host "$packages"
	try_qemu
}

# ---- Debian's packages for arm64 ----

# A private apt: the host's dpkg never learns of the foreign architecture, and an empty status file
# makes apt resolve the whole closure.
apt_root() {
	local apt=$CACHE/apt sources
	mkdir -p "$apt"/etc/apt/{preferences.d,sources.list.d,apt.conf.d} \
		"$apt"/var/lib/{apt/lists/partial,dpkg} "$apt"/var/cache/apt/archives/partial
	: >"$apt/var/lib/dpkg/status"
	for sources in sources.list.d/debian.sources sources.list; do
		[ ! -s "/etc/apt/$sources" ] || break
	done
	[ -s "/etc/apt/$sources" ] || cannot "there is no /etc/apt/$sources to fetch packages from"
	rm -f "$apt/etc/apt/sources.list" "$apt/etc/apt/sources.list.d/debian.sources"
	cp "/etc/apt/$sources" "$apt/etc/apt/$sources"
	cat >"$apt/apt.conf" <<-EOF
		Dir "$apt";
		Dir::Etc::parts "/etc/apt/apt.conf.d";
		Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";
		Dir::State::status "$apt/var/lib/dpkg/status";
		APT::Architecture "arm64";
		APT::Architectures { "arm64"; "amd64"; };
		APT::Sandbox::User "root";
		APT::Install-Recommends "false";
		Acquire::Languages "none";
	EOF
	patiently apt64 apt-get update
}

apt64() { APT_CONFIG=$CACHE/apt/apt.conf "$@"; }

# usage: depends PACKAGE PATTERN: the first dependency that begins so
depends() { apt64 apt-cache depends "$1" | sed -n "s/.*Depends: \($2.*\)/\1/p" | head -n 1; }

# usage: download FOLDER PACKAGE...
download() {
	local folder=$1
	shift
	mkdir -p "$folder/partial"
	(cd "$folder" && patiently apt64 apt-get download "$@")
}

download_all() {
	local version
	KERNEL=$(depends "$KERNEL_PACKAGE" linux-image-)
	[ -n "$KERNEL" ] || fail "Debian has no $KERNEL_PACKAGE: see 'apt-cache search linux-image'"
	KERNEL=${KERNEL#linux-image-}
	version=$(apt64 apt-cache policy "linux-image-$KERNEL" | sed -n 's/ *Candidate: //p')
	# Of kbuild's helpers (modpost, fixdep, ...) the host's architecture is wanted.
	download debs/kernel "linux-image-$KERNEL=$version" "linux-headers-$KERNEL=$version" \
		"$(depends "linux-headers-$KERNEL" 'linux-headers-.*-common')=$version" \
		"$(depends "linux-headers-$KERNEL" linux-kbuild- | sed 's/:.*//'):amd64=$version"
	download debs/python "libpython$GUEST_PYTHON-dev"
	mkdir -p debs/root/partial
	patiently apt64 apt-get install -y --download-only \
		-o Dir::Cache::archives="$WORK/debs/root" "${GUEST_PACKAGES[@]}"
	[ -n "$(compgen -G "debs/root/python$GUEST_PYTHON-minimal_*.deb")" ] ||
		fail "the guest's Debian has no python$GUEST_PYTHON"
}

# ---- the kernel ----

extract_kernel() {
	local deb modules=lib/modules/$KERNEL/kernel
	mkdir kernel
	for deb in debs/kernel/linux-headers-*.deb debs/kernel/linux-kbuild-*.deb; do
		dpkg-deb -x "$deb" kernel
	done
	# Of the image only the kernel and the modules that the guest can use (all: 290 MB).
	dpkg-deb --fsys-tarfile debs/kernel/linux-image-*.deb |
		tar -x -C kernel --wildcards "./boot/vmlinuz-*" "./lib/modules/$KERNEL/modules.*" \
			"./$modules/drivers/virtio/*" "./$modules/drivers/block/virtio_blk.ko*" \
			"./$modules/drivers/char/*" "./$modules/drivers/perf/*" "./$modules/fs/*" \
			"./$modules/net/9p/*" "./$modules/lib/crc*.ko*" "./$modules/crypto/crc32c_generic.ko*"
	find kernel/lib -name '*.ko.xz' -exec xz -d {} + # insmod wants them plain (6.12)
	depmod -b kernel "$KERNEL"
	mv "kernel/boot/vmlinuz-$KERNEL" image/vmlinuz
	# The headers' Makefile includes an absolute path.
	sed -i "s,/usr/src/,$WORK/kernel/usr/src/," "kernel/usr/src/linux-headers-$KERNEL/Makefile"
}

build_modules() {
	cp -r "$VM/module" module
	# Without BTF, for which pahole would be needed (6.12).
	make -s -C "kernel/usr/src/linux-headers-$KERNEL" M="$WORK/module" ARCH=arm64 \
		CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc-12 \
		CONFIG_DEBUG_INFO_BTF_MODULES= modules >module/build.log 2>&1 ||
		{
			cat module/build.log >&2
			fail "the guest's kernel modules do not build"
		}
	aarch64-linux-gnu-strip -g module/*.ko
}

# The kernel behind the few instructions that make QEMU's CPUs Kunpeng 920 cores.
build_shim() {
	local size offset=$((0x200000))
	size=$(od -An -tu8 -j16 -N8 image/vmlinuz | tr -d ' ')
	aarch64-linux-gnu-gcc -c -o shim.o -DKERNEL_OFFSET=$offset -DIMAGE_SIZE=$((offset + size)) \
		"$VM/shim/shim.S"
	aarch64-linux-gnu-objcopy -O binary -j .text shim.o shim.bin
	truncate -s $offset shim.bin
	cat shim.bin image/vmlinuz >image/vmlinuz-kp
}

# ---- the disks ----

build_initrd() {
	local module ko
	mkdir -p ram/{bin,dev,proc,sys,lib/modules}
	dpkg-deb --fsys-tarfile debs/root/busybox-static_*.deb | tar -x -O --wildcards '*bin/busybox' \
		>ram/bin/busybox
	chmod 755 ram/bin/busybox
	ln -s busybox ram/bin/sh
	cp "$VM/guest/init" ram/init
	for module in virtio_mmio virtio_blk virtio_console ext4 overlay 9pnet_virtio 9p; do
		modprobe -d "$WORK/kernel" -S "$KERNEL" --show-depends "$module" 2>/dev/null |
			awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++' >modules
	while read -r ko; do
		cp "$ko" ram/lib/modules/
		basename "$ko"
	done <modules >ram/lib/modules/order
	(cd ram && find . | cpio -o -H newc --quiet -R 0:0) >image/initrd.img
}

build_root() {
	local deb folder applet
	mkdir -p root/usr/{bin,sbin,lib}
	for folder in bin sbin lib; do ln -s usr/$folder root/$folder; done
	# dpkg -x would replace these links by directories.
	for deb in debs/root/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -p --keep-directory-symlink -C root
	done
	rm -rf root/usr/share/{doc,man,locale,lintian,info,perl,perl5}
	mkdir -p root/{dev,proc,sys,tmp,run,rig,root,payload,etc}
	chmod 1777 root/tmp
	printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'user:x:1000:1000::/tmp:/bin/sh' >root/etc/passwd
	printf '%s\n' root:x:0: user:x:1000: >root/etc/group
	echo '127.0.0.1 localhost rig' >root/etc/hosts
	cp "$VM"/guest/rig-job "$VM"/guest/rig-pmus root/sbin/
	mkdir root/lib/rig
	cp module/*.ko "kernel/lib/modules/$KERNEL/kernel/drivers/perf/arm_smmuv3_pmu.ko" root/lib/rig/
	# No maintainer script runs here: busybox stands in for what they would have set up.
	while read -r applet; do
		[ -f "root/bin/$applet" ] || [ -f "root/sbin/$applet" ] || ln -s busybox "root/bin/$applet"
	done <"$VM/guest/applets"
	# Nor is anything byte-compiled, and without that Python starts slowly.
	"/usr/bin/python$GUEST_PYTHON" -m compileall -q -s root -p / \
		"root/usr/lib/python$GUEST_PYTHON" || fail "the guest's Python does not byte-compile"
	mke2fs -q -t ext4 -O ^has_journal -m 0 -d root image/root.img 400M >/dev/null
}

# For wheel.sh: one folder, with arm64's pyconfig.h over Debian's multiarch switch.
take_headers() {
	mkdir headers
	dpkg-deb -x debs/python/libpython"$GUEST_PYTHON"-dev_*.deb headers
	cp -r "headers/usr/include/python$GUEST_PYTHON" image/pyinc
	cp "headers/usr/include/aarch64-linux-gnu/python$GUEST_PYTHON/pyconfig.h" image/pyinc/
}

# ---- the whole ----

step() { printf '[image %3ds] %s\n' $SECONDS "$*" >&2; }

# Everything that goes into the image, by content.
inputs() {
	cd "$VM"
	find build.sh common.sh guest module shim -type f | LC_ALL=C sort | xargs sha256sum
	echo "$KERNEL_PACKAGE"
}

is_built() { [ -f "$IMAGE/inputs" ] && [ "$(inputs)" = "$(cat "$IMAGE/inputs")" ]; }

build() {
	WORK=$(mktemp -d "$CACHE/work.XXXXXX")
	trap 'rm -rf "$WORK"' EXIT
	cd "$WORK"
	mkdir image
	(inputs) >image/inputs
	step "package lists"
	apt_root
	step "packages"
	download_all
	step "kernel $KERNEL"
	extract_kernel
	build_modules
	build_shim
	step "disks"
	build_initrd
	build_root
	take_headers
	echo "$KERNEL" >image/kernel
	rm -rf "$IMAGE"
	mv image "$IMAGE"
	step "done: $IMAGE ($(du -sh "$IMAGE" | cut -f 1))"
}

force=
[ "${1-}" != --force ] || {
	force=1
	shift
}
[ $# = 0 ] || {
	usage_of "$0"
	exit 2
}
mkdir -p "$CACHE"
exec 8>"$CACHE/lock"
flock 8 # one build at a time; who waited finds it built
check_host
if [ -n "$force" ] || ! (is_built); then
	build
fi
