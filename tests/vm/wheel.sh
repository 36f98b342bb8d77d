#!/bin/bash
# Cross-builds a Python package for the guest (meson-python; C that needs libc only) and installs it,
# with all it asks for, in SITE_DIR, which `run.sh -d SITE_DIR` gives the guest as a disk. The wheels
# that this took are in SITE_DIR/wheels, and pip, to install them there, in SITE_DIR/installer.
# usage: wheel.sh -d SITE_DIR [-p PYTHON] [-w WHEEL] PROJECT_DIR [REQUIREMENT...]
# -w: a wheel that is built already, to be installed instead.
# -p: a host interpreter, the project's environment: the guest gets the versions installed there.
# REQUIREMENT: what the tests need and the package does not ask for, such as pytest.
set -euo pipefail
shopt -s extglob
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

site='' host_python='' wheel=''
while getopts d:p:w: flag; do
	case $flag in
	d) site=$OPTARG ;;
	p) host_python=$OPTARG ;;
	w) wheel=$OPTARG ;;
	*) shift $# ;;
	esac
done
shift $((OPTIND - 1))
if [ -z "$site" ] || [ ! -f "${1-}/pyproject.toml" ]; then
	usage_of "$0"
	exit 2
fi
[ -f "$IMAGE/pyinc/Python.h" ] || fail "there is no image in $IMAGE: run build.sh first"
project=$(cd "$1" && pwd)
shift

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
TOOLS=$CACHE/tools
export PIP_DISABLE_PIP_VERSION_CHECK=1

# Python's build requirements, not in isolation: _PYTHON_HOST_PLATFORM (below), which names the
# wheel, would make pip fetch the build tools for the guest, too.
install_tools() {
	mkdir -p "$CACHE"
	exec 8>"$CACHE/lock"
	flock 8
	[ -x "$TOOLS/bin/python" ] || "/usr/bin/python$GUEST_PYTHON" -m venv "$TOOLS"
	"$TOOLS/bin/python" - "$project/pyproject.toml" >"$WORK/build-requires.txt" <<-PYTHON
		import sys, tomllib
		with open(sys.argv[1], "rb") as file:
		    project = tomllib.load(file)
		print("meson>=1.10", "ninja", *project["build-system"]["requires"], sep="\n")
	PYTHON
	"$TOOLS/bin/pip" install -q -r "$WORK/build-requires.txt"
	exec 8>&-
}

# The guest's Python as meson wants it described (PEP 739), and the cross compiler. Without the
# first, meson would compile against the host's pyconfig.h and say nothing.
describe_target() {
	cat >"$WORK/build-details.json" <<-JSON
		{"schema_version": "1.0", "base_prefix": "/usr",
		 "base_interpreter": "/usr/bin/python$GUEST_PYTHON", "platform": "linux-aarch64",
		 "language": {"version": "$GUEST_PYTHON"}, "implementation": {"name": "cpython"},
		 "abi": {"flags": [],
		  "extension_suffix": ".cpython-${GUEST_PYTHON/./}-aarch64-linux-gnu.so",
		  "stable_abi_suffix": ".abi3.so"},
		 "libpython": {"link_extensions": false}, "c_api": {"headers": "$IMAGE/pyinc"}}
	JSON
	cat >"$WORK/aarch64.ini" <<-INI
		[binaries]
		c = 'aarch64-linux-gnu-gcc'
		ar = 'aarch64-linux-gnu-ar'
		strip = 'aarch64-linux-gnu-strip'
		[built-in options]
		python.build_config = '$WORK/build-details.json'
		[host_machine]
		system = 'linux'
		cpu_family = 'aarch64'
		cpu = 'aarch64'
		endian = 'little'
	INI
}

build_wheel() {
	PATH=$TOOLS/bin:$PATH _PYTHON_HOST_PLATFORM=linux-aarch64 \
		"$TOOLS/bin/pip" wheel -q --no-deps --no-build-isolation -w "$WORK/wheel" \
		--config-settings=setup-args=--cross-file="$WORK/aarch64.ini" "$project"
	wheel=$(echo "$WORK"/wheel/*.whl)
}

# The versions of the project's environment, without the project itself.
constrain() {
	: >"$WORK/constraints.txt"
	[ -n "$host_python" ] || return 0
	"$host_python" - "$(basename "$wheel")" >"$WORK/constraints.txt" <<-PYTHON
		import importlib.metadata, re, sys
		def plain(name):
		    return re.sub("[-_.]+", "-", name).lower()
		for package in importlib.metadata.distributions():
		    name = package.metadata["Name"]
		    if plain(name) != plain(sys.argv[1].split("-")[0]):
		        print(name + "==" + package.version)
	PYTHON
}

# What pip has to know of the guest. Its glibc is Debian 12's, 2.36: every manylinux up to that runs there.
GUEST=(--only-binary=:all: --python-version="$GUEST_PYTHON" --implementation=cp
	--abi="cp${GUEST_PYTHON/./}" --abi=abi3 --abi=none
	--platform=linux_aarch64 --platform=manylinux2014_aarch64 --platform=manylinux_2_{17..36}_aarch64)

# usage: unpack FOLDER WHEEL...
unpack() {
	"$TOOLS/bin/pip" install -q --target "$1" --no-deps --no-compile "${GUEST[@]}" "${@:2}"
}

install_site() {
	rm -rf "$site"
	"$TOOLS/bin/pip" download -q -d "$site/wheels" "${GUEST[@]}" -c "$WORK/constraints.txt" \
		"$wheel" "$@" pip
	unpack "$site" "$site"/wheels/!(pip-*)
	unpack "$site/installer" "$site"/wheels/pip-*
	# Debug information can be nine tenths of other people's libraries.
	find "$site" -path "$site/kperf" -prune -o -name '*.so' -size +1M -exec aarch64-linux-gnu-strip -g {} +
	# pip writes the host's interpreter into the scripts.
	[ ! -d "$site/bin" ] ||
		find "$site/bin" -type f -exec sed -i '1s,^#!.*python.*,#!/usr/bin/python3,' {} +
	"$TOOLS/bin/python" -m compileall -q -j0 -s "$site" -p /site "$site" ||
		say "some of $site does not byte-compile"
}

install_tools
if [ -z "$wheel" ]; then
	describe_target
	build_wheel
fi
constrain
install_site "$@"
say "$(basename "$wheel"); $site has $(du -sh "$site" | cut -f 1)"
