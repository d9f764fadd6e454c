#!/bin/sh
# usage: submit.sh MASTER MANIFEST [options of spark-submit]
# Submits harvest.py to a cluster, as: submit.sh spark://10.0.0.5:7077 /mnt/wechat/jobs.yaml
set -eu
master=$1 manifest=$2
shift 2
exec spark-submit --master "$master" --name harvester "$@" "$(dirname "$0")/harvest.py" "$manifest"
