#!/bin/sh
# Install the requirements, and what comes without its own (without-dependencies.in), into a virtual environment (the argument) with uv: a minute, where pip
# takes several. uv is fetched where it is missing; where it can't be had or fails, pip it is.
set -eu
python="$1/bin/python"
here=$(dirname "$0")
set -- -c "$here/constraints.txt" -r "$here/requirements.in"
bare="--no-deps -c $here/constraints.txt -r $here/without-dependencies.in"
pip="$python -m pip --disable-pip-version-check"

# uv reads none of pip's settings: those that say where packages come from are handed on.
setting() { $pip config list | sed -n "s/^[^=]*[.]$1='\(.*\)'$/\1/p" | tail -n 1; }
addresses() { for each in $(setting "$1"); do case $each in http*) echo "$each" ;; esac; done; }
index=$(addresses index-url)
others=$(addresses extra-index-url | tr '\n' ' ')
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
[ -z "$others" ] || export UV_INDEX="${UV_INDEX:-$others}"
links=$(setting find-links)
[ ! -d "$links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$links}"  # uv stops where it is missing
certificates=$(setting cert)
[ -z "$certificates" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"

uv=$(command -v uv) || { $pip install --quiet -c "$here/constraints.txt" uv && uv="$(dirname "$python")/uv"; } || uv=
if [ -n "$uv" ] && [ "$(setting no-index)" = "" ]; then
    echo "installing with uv (a minute or two)"
    installing="$uv pip install --quiet --compile-bytecode --python $python"
    $installing "$@" && $installing $bare && exit
    echo "uv failed"
fi
echo "installing with pip (a few minutes)"
$pip install --quiet "$@"
$pip install --quiet $bare
