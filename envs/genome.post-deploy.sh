#!/bin/sh
# infercnvpy without the packages that it asks for: leidenalg (GPL) and pyreadr (AGPL) are among
# them, for what is not used here.
set -eu
python -m pip install --no-deps infercnvpy==0.6.1
