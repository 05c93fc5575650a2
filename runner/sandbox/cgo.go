package sandbox

// #include "protocol.h"
// #include <linux/filter.h>
import "C"

import "unsafe"

const (
	zygoteArgv0 = C.ZYGOTE_ARGV0
	awaitIDsEnv = C.AWAIT_IDS_ENV
	boxUID      = C.BOX_UID
	maxFilter   = C.BOX_MAX_FILTER
	filters     = C.BOX_FILTERS
	configSize  = int(C.sizeof_struct_box_config)
	reportSize  = int(C.sizeof_struct_box_report)

	reportReady  = C.BOX_READY
	reportFailed = C.BOX_FAILED
	reportExited = C.BOX_EXITED
	// reportRefused comes of gVisor's guests alone: elsewhere the host's cgroup counts.
	reportRefused = C.BOX_REFUSED
)

// encodeConfig gives the bytes of a struct box_config. shared says that init and the
// program have one uid, limited that a cgroup keeps the limits.
// bundle is how long what follows the filters is.
func encodeConfig(spec Spec, lengths [filters]int, shared, limited bool, bundle int) []byte {
	c := C.struct_box_config{processes: C.uint32_t(spec.Limits.Processes), bundle_length: C.uint32_t(bundle)}
	c.scratch_bytes = C.uint64_t(spec.Limits.ScratchBytes)
	c.scratch_inodes = C.uint64_t(spec.Limits.ScratchInodes)
	c.file_bytes = C.uint64_t(spec.Limits.FileBytes)
	c.open_files = C.uint64_t(spec.Limits.OpenFiles)
	c.core_bytes = C.uint64_t(coreBytes(corePattern))
	if spec.Usr != "" {
		c.usr = 1
	}
	if shared {
		c.shared = 1
	}
	if !limited {
		c.own_limits = 1
		c.data_bytes = C.uint64_t(dataBytes(spec.Limits))
	}
	for i, n := range lengths {
		c.filter_lengths[i] = C.uint32_t(n)
	}
	for i := 0; i < len(spec.Hostname) && i < len(c.hostname)-1; i++ {
		c.hostname[i] = C.char(spec.Hostname[i])
	}
	return bytesOf(&c)
}

// encodeRequest gives the bytes of a struct box_request.
func encodeRequest(uid int, shared, gvisor, unified bool, groups int) []byte {
	q := C.struct_box_request{uid: C.uint32_t(uid), groups: C.uint32_t(groups)}
	if shared {
		q.shared = 1
	}
	if gvisor {
		q.gvisor = 1
	}
	if unified {
		q.unified = 1
	}
	return bytesOf(&q)
}

// encodeSignal gives the bytes of a struct box_signal.
func encodeSignal(number int, terminal bool) []byte {
	s := C.struct_box_signal{number: C.int32_t(number)}
	if terminal {
		s.terminal = 1
	}
	return bytesOf(&s)
}

// encodeResize gives the bytes of a struct box_signal that sizes the terminal.
func encodeResize(size Size) []byte {
	s := C.struct_box_signal{cols: C.uint32_t(size.Cols), rows: C.uint32_t(size.Rows)}
	return bytesOf(&s)
}

// report is a decoded struct box_report.
type report struct {
	kind  int
	value int
	step  string
}

func decodeReport(b []byte) report {
	var r C.struct_box_report
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r)), reportSize), b)
	return report{int(r.kind), int(r.value), C.GoString(&r.step[0])}
}

func bytesOf[T any](v *T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))...)
}
