# shellcheck shell=bash disable=SC2034
# Where things are, and how the scripts here speak. To be sourced, not run.

VM=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-${HOME:?}/.cache}/kperf-vm
# Which Debian kernel: linux-image-6.12-arm64 and linux-image-6.12-arm64-16k work as well.
KERNEL_PACKAGE=${RIG_KERNEL:-linux-image-arm64}
IMAGE=$CACHE/$KERNEL_PACKAGE

# The guest's Debian is the host's, and with it the Python that cross-builds and byte-compiles.
GUEST_DEBIAN=12
GUEST_PYTHON=3.11

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
	say "$@"
	exit 2
}

# Not a failure of what is tested: this machine has no way to run it.
NOT_RUN=77
cannot() {
	say "NOT RUN: $*"
	exit $NOT_RUN
}

# usage: usage_of SCRIPT: the comment at its top
usage_of() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1" >&2
}
