#!/bin/sh
# install.sh LOCK...: a virtual environment at /opt/askmesh with the packages of these locks, from the wheels in /wheels
# and from nowhere else; every lock's hash is checked. Without a lock: askmesh's own wheel.
set -eu
pip() { python3 -m pip --python /opt/askmesh/bin/python install -q --no-index --no-deps --no-compile "$@"; }

python3 -m venv --without-pip /opt/askmesh
for lock in "$@"; do
    pip --find-links /wheels --require-hashes -r "/requirements/$lock.txt"
done
[ $# -gt 0 ] || pip /wheels/askmesh-*.whl

cd /opt/askmesh
find bin -type f ! -name askmesh -delete  # of the commands that packages bring, none is used
rm -rf include lib64
# Where a wheel came from is this build's matter and differs between builds.
find lib -name direct_url.json -delete
# Not used at run time: sources of C extensions, type stubs, test suites of third parties.
find lib -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.h' -o -name '*.hpp' \) -delete
find lib -type d \( -name tests -o -name test \) -prune -exec rm -r {} +
# Bytecode that is valid whatever the clock says: the root file system is read-only, so none would be kept at run time.
# -S: a package's .pth file would import others, whose bytecode would be there already, with a time in it.
PYTHONHASHSEED=0 bin/python -S -m compileall -q -f --invalidation-mode unchecked-hash lib
chmod -R u=rwX,go=rX .
