// Package sandbox makes boxes: places in which one program of a stranger runs
// once. The runner calls it. A box is built ahead (Launcher.Build), takes one
// command (Box.Start) and is destroyed.
//
// # Theory of operation
//
// A box has two processes of our own. A third, the zygote, makes them by cloning itself:
// this same executable, started under another name (argv[0] is corun-zygote) and taken
// over by C code in zygote.c and init.c before the Go runtime starts.
//
//	launcher (host, root)
//	   └─ zygote  (host; may map uids, enter namespaces and make device files, no more)
//	      │       has one thread and a root of its own: a read-only tmpfs with an empty
//	      │       folder and a /proc, which a box needs beside it to mount its own. It
//	      │       always has the next box's /dev ready and is in its network namespace.
//	      └─ init  pid 1 of the box. In the box's user namespace it is uid 0, which
//	         │     is an unprivileged uid of its own on the host. It mounts the
//	         │     box's root, opens the terminal, then drops every capability but
//	         │     CAP_KILL (in its own namespace) and may make nine system calls: it
//	         │     only reaps and passes on signals. It shares no memory and no uid with
//	         │     the program.
//	         └─ stub  becomes the program. Uid 1000 inside, another unprivileged uid
//	                on the host, no capability, an empty bounding set,
//	                no_new_privs, both seccomp filters loaded, rlimits set: all of
//	                it before it says that it is ready. What is left for the moment
//	                of a run is to write the files, take the descriptors and exec.
//
// What travels where:
//
//	control socket  host to init: the configuration, the seccomp filters and the box's
//	                mounts, when it is known what the box is to be; then signals. Init to host: the
//	                terminal's master and a descriptor of /work, a step that
//	                failed, the program's wait status. When the host's end closes, init ends
//	                and with it, by the kernel's hand, everything in the box.
//	command socket  stub to host: ready, or the step that failed. Host to stub:
//	                one command, with the program's three descriptors. It closes
//	                with the exec, which is how the host learns of that.
//	image           a clone of the image's mount, read-only and detached, made by
//	                the launcher, so that the box needs no way through the host's
//	                folders.
//
//	zygote's socket what a box is made with: its uid, its ends of the two sockets, its
//	                cgroup's tasks files (version 1, in which it
//	                writes itself) or folder (version 2, into which it is cloned).
//	                Back: a pidfd, by which the launcher waits and kills.
//
// The box has its own user, pid, mount, network, IPC, UTS and cgroup namespaces.
// Its cgroup bounds memory (without swap, tmpfs and page cache included),
// processor and processes. The host's clocks and the cgroup's accounting are
// read from outside. To kill a box is to kill its init: the kernel then kills
// all in the pid namespace and lets nobody see init dead before they are. The
// cgroup is the second means, and the one for boxes whose launcher has gone:
// cgroup.kill with version 2, with version 1 to freeze, kill all and thaw.
//
// Not started as root, the launcher is root of a user namespace (userns.go), and all is
// the same but for this. With the user's subordinate ids boxes have uids of their own;
// without, there is one, which is uid 1000 in every box, of init and the program: init
// then never is the box's uid 0 but keeps the capabilities that the clone gave it until
// it drops them. Where there is no cgroup, the stub sets rlimits instead.
//
// With gVisor (Config.Isolation) there is a kernel more:
//
//	zygote
//	   └─ init  (gvisor.c) as above, but that it runs runsc, with a bundle that is in the
//	      │     box, and then waits for the end of the sentry or the host.
//	      ├─ gofer   opens the image's files for the sentry
//	      └─ sentry  is the box's second uid, in a user namespace of its own. Upon it:
//	         └─ guest's init  (guest.c) to the program and the host what init is above
//	            └─ stub  the same
//
// The guest's init and the stub have the control and the command socket, which runsc passes
// through, and a stream for the terminal. What a guest says is about its own run alone: how
// it ended, and how many forks were refused.
//
// Everything a box has on the host is in its processes and its cgroup. Both carry
// the launcher's name, so that what a crashed process left behind is found and
// removed when the next one opens (see Open). A box that cannot be taken away is kept
// in quarantine: counted (Leftovers), tried again, its name and uids not given again.
//
// Files go in through the stub, which writes them as the program's own user in an empty
// folder, before the program is there. They come out when the box is dead
// (Box.Collect): nobody can change them any more while the launcher reads them.
package sandbox
