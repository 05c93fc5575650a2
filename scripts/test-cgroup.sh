#!/bin/sh
# Runs the box tests with one version of cgroups, in a real kernel of their own:
# Debian's, in a virtual machine without disk or network. Takes no root.
# usage: scripts/test-cgroup.sh 1|2 TEST-BINARY DIR
# TEST-BINARY is a static one of runner/sandbox; DIR keeps the kernel and busybox.
set -eu

# Those that need no more of an image than a shell.
tests="MemoryLimit NoSwap Accounting ProcessCount Quota KillByGroup BoxSeesNoGroups Findings KilledLauncher
	Delegation RootlessDelegation ChooseBase ObservedPeak StartFailures LeftoversAreRemoved ClosedLauncher ManyBoxes RemoteEnds RemoteMemory"
seconds=300 # after which it has hung

version=$1 binary=$2 dir=$3
name=test-cgroup$version
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# fetch unpacks packages without installing them: a kernel's hooks are for a machine
# that boots with it.
fetch() {
	kernel=
	for meta in linux-image-cloud-amd64 linux-image-virtual; do # Debian's, Ubuntu's
		kernel=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
		[ -z "$kernel" ] || break
	done
	[ -n "$kernel" ] || return 1
	rm -rf "$dir/packages"
	mkdir -p "$dir/packages/root"
	(cd "$dir/packages" && apt-get download -q "$kernel" busybox-static >&2) || return 1
	# Ubuntu has the modules in a package of their own.
	modules=$(echo "$kernel" | sed 's/^linux-image-/linux-modules-/')
	(cd "$dir/packages" && apt-get download -q "$modules" >/dev/null 2>&1) || true
	for package in "$dir"/packages/*.deb; do dpkg -x "$package" "$dir/packages/root"; done
}
if ! [ -e "$dir/packages/ok" ]; then
	# The lists may be older than what the mirror has.
	fetch || { apt-get update -q >&2 && fetch; } || {
		echo "$name: the packages of the kernel and of busybox cannot be fetched" >&2
		exit 1
	}
	touch "$dir/packages/ok"
fi
kernel=$(find "$dir/packages/root/boot" -name 'vmlinuz-*' | head -n 1)
brd=$(find "$dir/packages/root" -name 'brd.ko' | head -n 1) # a disk of memory, to swap to
busybox=$(find "$dir/packages/root" -path '*/bin/busybox' | head -n 1)

# The initramfs: a folder with all that the machine has.
root=$dir/root
rm -rf "$root"
mkdir -p "$root"/bin "$root"/dev "$root"/new
cp "$busybox" "$root/bin/busybox"
cp "$binary" "$root/sandbox.test"
[ -z "$brd" ] || cp "$brd" "$root/brd.ko"
gcc -static -O1 -o "$root/probe" "$(dirname "$0")/../runner/sandbox/testdata/probe.c"

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
# The first root cannot be pivoted away from, which boxes do: go to another.
b=/bin/busybox
if [ -d /new ]; then
	$b mount -t tmpfs -o size=256m tmpfs /new
	$b mkdir -p /new/bin /new/dev /new/proc /new/sys /new/tmp /new/run /new/etc
	$b mv /bin/busybox /new/bin/
	/new/bin/busybox cp /init /new/ # which must stay: it tells switch_root what this root is
	for file in sandbox.test probe brd.ko tests; do
		[ ! -e /$file ] || /new/bin/busybox mv /$file /new/
	done
	exec /new/bin/busybox switch_root /new /init
fi
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t proc proc /proc
mount -t sysfs sys /sys
case $hierarchy in # from the kernel's command line
1)
	mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
	for controller in memory cpu cpuacct pids freezer; do
		mkdir /sys/fs/cgroup/$controller
		mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller
	done
	roots=$(echo /sys/fs/cgroup/*)
	;;
2)
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	roots=/sys/fs/cgroup
	;;
esac
mount -t tmpfs tmpfs /tmp
ip link set lo up
if [ -e /brd.ko ]; then
	insmod /brd.ko rd_nr=1 rd_size=65536 && mkswap /dev/ram0 >/dev/null && swapon /dev/ram0
fi
echo "Linux $(uname -r), cgroup version $hierarchy, swap: $(sed -n 2p /proc/swaps)"

# What boxes see.
image=/image
mkdir -p $image/bin $image/dev $image/proc $image/work $image/tmp $image/usr $image/etc
cp /bin/busybox $image/bin/
for name in sh cat true sleep echo; do ln -s busybox $image/bin/$name; done

export CORUN_TEST_ROOTFS=$image CORUN_TEST_PROBE=/probe
read -r tests </tests
/sandbox.test -test.v -test.timeout 240s -test.run "$tests"
status=$?
left=$(find $roots -mindepth 1 -type d)
if [ -n "$left" ]; then
	echo "groups are left: $left"
	status=1
fi
echo "test-cgroup$hierarchy ended with $status"
poweroff -f
INIT
chmod 755 "$root/init"
# shellcheck disable=SC2086 # makes one line of it
pattern=$(echo $tests | tr ' ' '|')
echo "^Test($pattern)\$" >"$root/tests"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$dir/initramfs.gz"

log=$dir/console$version.log
code=0
# Not with KVM, which is not everywhere and, in a virtual machine, not always whole.
timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,la57=off -smp 2 -m 768 -nodefaults -no-user-config \
	-display none -no-reboot -serial stdio -net none -kernel "$kernel" -initrd "$dir/initramfs.gz" \
	-append "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off hierarchy=$version" </dev/null >"$log" 2>&1 || code=$?
tr -d '\r' <"$log"
failed=
tr -d '\r' <"$log" | grep -q "^$name ended with 0\$" || failed="the tests failed or did not run to the end (qemu ended with $code)"
for test in $tests; do
	case $version$test in 1Delegation | 1RootlessDelegation) continue ;; esac # there is none
	grep -q "^--- PASS: Test$test " "$log" || failed="${failed:-"not all tests passed"}; Test$test did not pass"
done
if [ -n "$failed" ]; then
	echo "$name: $failed" >&2
	exit 1
fi
