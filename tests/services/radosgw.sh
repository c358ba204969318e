#!/bin/bash
# A real S3 server for tests: one Ceph RADOS gateway with its store in memory, on loopback only.
#
#   radosgw.sh install           the Debian packages (needs root; about a minute)
#   radosgw.sh start DIR PORT [PID]   DIR: a new or empty folder; PORT: of S3; PORT+1 and PORT+2 are taken too;
#                                with PID everything ends by itself when that process is gone
#   radosgw.sh stop DIR          ends every process that was started for DIR
#
# Access key GWACCESS, secret GWSECRETGWSECRET, path style, signature v4. KMS encryption with the key testkey-1.
# Note: AES256 (SSE-S3) is accepted by this server and not carried out, which is what a test wants to see found.
set -eu

PACKAGES="radosgw ceph-mon ceph-osd ceph-mgr ceph-common uuid-runtime curl"

installed() {
  local program  # one by one: given several names, `command -v` is content with any of them
  for program in radosgw radosgw-admin ceph ceph-mon ceph-osd ceph-mgr ceph-authtool monmaptool uuidgen curl; do
    command -v "$program" >/dev/null || return 1
  done
}

install_packages() {
  installed && return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "radosgw.sh: install $PACKAGES first" >&2; exit 3; }
  exec 9>/tmp/ticketgate-radosgw-install.lock
  flock 9  # test processes start side by side; the second finds everything there
  installed && return 0
  # shellcheck disable=SC2086
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $PACKAGES; } >&2 9>&- || exit 3
  exec 9>&-
}

write_configuration() {
  cat >"$DIR/ceph.conf" <<CONF
[global]
fsid = $FSID
mon_host = [v2:127.0.0.1:$((PORT + 1)),v1:127.0.0.1:$((PORT + 2))]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = $DIR/keyring
run_dir = $DIR/run
pid_file = $DIR/run/\$name.pid
admin_socket = $DIR/run/\$name.asok
log_file = $DIR/log/\$name.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_crush_chooseleaf_type = 0
osd_crush_update_on_start = true
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 1
mon_data_avail_crit = 1
auth_allow_insecure_global_id_reclaim = false
[mon.a]
mon_data = $DIR/mon
[mgr.x]
mgr_data = $DIR/mgr
[osd.0]
osd_data = $DIR/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_memory_target = 939524096
bluestore_cache_autotune = true
[client.rgw.a]
rgw_frontends = beast endpoint=127.0.0.1:$PORT tcp_nodelay=1
rgw_data = $DIR/rgw
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = testkey-1=QIeFMQCkfO0vNpjCmkoNX5wygzDwXQr8i3UeV7Aa0O4=
rgw_enable_apis = s3,admin
CONF
}

make_keys() {
  local ring="$DIR/keyring"
  ceph-authtool --create-keyring "$ring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$ring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  ceph-authtool "$ring" --gen-key -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *'
  ceph-authtool "$ring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd'
  ceph-authtool "$ring" --gen-key -n client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
  monmaptool --create --clobber --addv a "[v2:127.0.0.1:$((PORT + 1)),v1:127.0.0.1:$((PORT + 2))]" --fsid "$FSID" "$DIR/monmap"
}

start() {
  [ -z "$(ls -A "$DIR" 2>/dev/null)" ] || { echo "radosgw.sh: $DIR is not empty" >&2; exit 2; }
  install_packages
  mkdir -p "$DIR"/{mon,osd,mgr,rgw,run,log}
  FSID=$(uuidgen)
  write_configuration
  trap 'stop' ERR
  {
    make_keys
    local conf=(-c "$DIR/ceph.conf") disk
    ceph-mon "${conf[@]}" -i a --mkfs --monmap "$DIR/monmap" --keyring "$DIR/keyring"
    ceph-mon "${conf[@]}" -i a
    disk=$(uuidgen)
    timeout 60 ceph "${conf[@]}" osd new "$disk"
    ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$disk"
    ceph-osd "${conf[@]}" -i 0
    ceph-mgr "${conf[@]}" -i x
    timeout 120 radosgw "${conf[@]}" -n client.rgw.a
  } >>"$DIR/log/start.log" 2>&1
  for _ in $(seq 120); do
    curl -s -o /dev/null "http://127.0.0.1:$PORT/" && break
    sleep 0.5
  done
  timeout 60 radosgw-admin "${conf[@]}" user create --uid=gw --display-name=gw \
    --access-key=GWACCESS --secret-key=GWSECRETGWSECRET >>"$DIR/log/start.log" 2>&1
  echo ready
}

stop() {
  [ -d "$DIR" ] || return 0
  touch "$DIR/stopped"
  local pids=() file pid
  for file in "$DIR"/run/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    # Only a process that names this very folder in its arguments is ours.
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$DIR/"; then pids+=("$pid"); fi
  done
  [ ${#pids[@]} -eq 0 ] && return 0
  kill "${pids[@]}" 2>/dev/null || true
  for _ in $(seq 40); do
    kill -0 "${pids[@]}" 2>/dev/null || return 0
    sleep 0.25
  done
  kill -9 "${pids[@]}" 2>/dev/null || true
}

watch() {
  { while kill -0 "$1" 2>/dev/null && [ -d "$DIR" ] && [ ! -e "$DIR/stopped" ]; do sleep 2; done; stop; } </dev/null >/dev/null 2>&1 &
}

case "${1:-}" in
  install) install_packages ;;
  start) DIR=${2:?DIR}; PORT=${3:?PORT}; start; [ -z "${4:-}" ] || watch "$4" ;;
  stop) DIR=${2:?DIR}; stop ;;
  *) sed -n '2,12p' "$0"; exit 2 ;;
esac
