// Package sandbox makes boxes: places in which one program of a stranger runs
// once. The runner calls it. A box is built ahead (Launcher.Build), takes one
// command (Box.Start) and is destroyed.
//
// # Theory of operation
//
// A box has two processes of our own, both this same executable, started under
// another name (argv[0] is corun-box) and taken over by C code in init.c before
// the Go runtime starts:
//
//	launcher (host, root)
//	   └─ init   pid 1 of the box. In the box's user namespace it is uid 0, which
//	      │      is an unprivileged uid of its own on the host. It mounts the
//	      │      box's root, opens the terminal, then drops every capability but
//	      │      CAP_KILL (in its own namespace) and only reaps and passes on
//	      │      signals. It shares no memory and no uid with the program.
//	      └─ stub  becomes the program. Uid 1000 inside, another unprivileged uid
//	             on the host, no capability, an empty bounding set,
//	             no_new_privs, both seccomp filters loaded, rlimits set: all of
//	             it before it says that it is ready. What is left for the moment
//	             of a run is to write the files, take the descriptors and exec.
//
// What travels where:
//
//	control socket  host to init: the configuration and the seccomp filters, sent
//	                once the process is in its cgroup; then signals. Init to
//	                host: the terminal's master, a step that failed, the
//	                program's wait status. When the host's end closes, init ends
//	                and with it, by the kernel's hand, everything in the box.
//	command socket  stub to host: ready, or the step that failed. Host to stub:
//	                one command, with the program's three descriptors. It closes
//	                with the exec, which is how the host learns of that.
//	image           a clone of the image's mount, read-only and detached, made by
//	                the launcher, so that the box needs no way through the host's
//	                folders.
//
// The box has its own user, pid, mount, network, IPC, UTS and cgroup namespaces.
// Its cgroup bounds memory (without swap, tmpfs and page cache included),
// processor and processes. The host's clocks and the cgroup's accounting are
// read from outside. To kill a box is to kill its init: the kernel then kills
// all in the pid namespace and lets nobody see init dead before they are. The
// cgroup is the second means, and the one for boxes whose launcher has gone:
// cgroup.kill with version 2, with version 1 to freeze, kill all and thaw.
//
// Everything a box has on the host is in its processes and its cgroup. Both carry
// the launcher's name, so that what a crashed process left behind is found and
// removed when the next one opens (see Open).
package sandbox
