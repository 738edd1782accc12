# lib.sh - what the scripts of this folder share: the installed library, in a place of its own. To be sourced.
#
# DESTDIR with PREFIX=/opt/weft, as a packager does it; PKG_CONFIG looks there and nowhere else for weft.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BUILD=${WEFT_BUILD:-$PWD/build/release}
if [ -z "${WEFT_TMP:-}" ]; then
  WEFT_TMP=$(mktemp -d)
  trap 'rm -rf "$WEFT_TMP"' EXIT
fi
VERSION=$(sed -n 's/^VERSION := //p' Makefile)
SYSROOT=$WEFT_TMP/root
INSTALLED=$SYSROOT/opt/weft
fail() { echo "FAILED: $*"; exit 1; }
[ -e "$BUILD/lib/libweft-sched.so.$VERSION" ] || { echo "libweft-sched.so is not built: make libraries"; exit 77; }
install_library() {  # install_library install|uninstall
  PREFIX=/opt/weft DESTDIR=$SYSROOT HELPER_DIR='' BUILD=${BUILD#"$PWD"/} VERSION=$VERSION PART=sched tools/install.sh "$1"
}
install_library install
# Of the library alone: what else is installed on the machine stays visible to the linker.
package() { PKG_CONFIG_PATH=$INSTALLED/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$SYSROOT pkg-config "$@"; }
export LD_LIBRARY_PATH=$INSTALLED/lib
