#!/bin/bash
# The first process of a made host: remote_host_init.sh ROOT NAME PIVOT DEVICE...
# Makes the file systems that a boot makes, prints its process id outside the host, and waits. It ends when its standard
# input does, so the host ends with the tests, however these end. PIVOT is `no` if users cannot make namespaces.
set -eu
root=$1 name=$2 pivot=$3
read -r pid _ </proc/self/stat
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
shift 3
for device; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir "$root/run/sshd" "$root/run/lock"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
hostname "$name"
cd "$root"
if [ "$pivot" = yes ]; then
    pivot_root . .
    umount -l .
fi
echo "$pid"
read -r _ || :
