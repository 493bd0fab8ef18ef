#!/usr/bin/env bash
# A throw-away object gateway of Ceph on loopback, in memory: real S3, real credentials.
#
#     ceph_gateway.sh FOLDER PORT MON_PORT MON_PORT_1
#
# Keys: testkey / testsecret. Prints "ready"; runs until it is killed with its group.
# Needs Debian's ceph-mon, ceph-osd, ceph-common and radosgw.
set -euo pipefail
folder=$1 port=$2 mon=$3 mon_1=$4
mkdir -p "$folder"/{mon,osd,run,log,rgw}
conf=$folder/ceph.conf keys=$folder/keyring
cluster=$(cat /proc/sys/kernel/random/uuid)
address="[v2:127.0.0.1:$mon,v1:127.0.0.1:$mon_1]"

ceph-authtool --create-keyring "$keys" --gen-key -n mon. --cap mon 'allow *' >/dev/null
for name in client.admin client.rgw; do
  ceph-authtool "$keys" --gen-key -n "$name" \
    --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
done
cat >"$conf" <<CONF
[global]
fsid = $cluster
mon host = $address
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
keyring = $keys
run dir = $folder/run
log file = $folder/log/\$name.log
admin socket = $folder/run/\$name.asok
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = $folder/mon
mon data avail crit = 1
mon data avail warn = 1
mon max pg per osd = 1000
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 1073741824
ms bind ipv6 = false
[osd]
keyring = $folder/osd/keyring
[client.rgw]
keyring = $keys
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw data = $folder/rgw
rgw thread pool size = 32
CONF

# await TRIES COMMAND...: until the command succeeds
await() {
  local tries=$1
  shift
  for _ in $(seq "$tries"); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  echo "gave up: $*" >&2
  return 1
}
is_up() { ceph -c "$conf" osd stat 2>/dev/null | grep -q '1 up'; }
listens() { (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

monmaptool --create --fsid "$cluster" --addv a "$address" "$folder/monmap" >/dev/null
ceph-mon -c "$conf" --mkfs -i a --monmap "$folder/monmap" --keyring "$keys"
ceph-mon -c "$conf" -i a -f >"$folder/log/mon.out" 2>&1 &
await 40 timeout 5 ceph -c "$conf" mon stat
osd=$(cat /proc/sys/kernel/random/uuid)
secret=$(ceph-authtool --gen-print-key)
echo "{\"cephx_secret\": \"$secret\"}" | ceph -c "$conf" osd new "$osd" -i - >/dev/null
ceph-authtool --create-keyring "$folder/osd/keyring" --name osd.0 --add-key "$secret" >/dev/null
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd" >/dev/null 2>&1
ceph-osd -c "$conf" -i 0 -f >"$folder/log/osd.out" 2>&1 &
await 100 is_up
radosgw -c "$conf" -n client.rgw -f >"$folder/log/rgw.out" 2>&1 &
await 300 listens
radosgw-admin -c "$conf" -n client.admin user create --uid=t --display-name=t \
  --access-key=testkey --secret-key=testsecret >"$folder/log/user.out" 2>&1
echo ready >"$folder/ready"
wait
