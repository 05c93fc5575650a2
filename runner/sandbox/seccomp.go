package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
)

// instructionSize is sizeof(struct sock_filter).
const instructionSize = 8

// exporting serialises the use of libseccomp, whose logging and API level are
// global.
var exporting sync.Mutex

// CompileSeccomp turns an OCI LinuxSeccomp profile into what Spec.Seccomp takes:
// two BPF programs, each behind its length (u32, little-endian).
//
// The first holds the rules without refusals by argument; the second allows
// everything but those. The kernel runs both and takes the stricter answer, so
// that a call can be allowed in general and refused for some arguments, which
// libseccomp cannot say in one filter. Names that this libseccomp does not know
// are left out: with an allow-list the default then refuses them. A foreign
// architecture's calls kill the process.
func CompileSeccomp(oci []byte) ([]byte, error) {
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return nil, fmt.Errorf("find the architecture: %w", err)
	}
	return compileSeccomp(oci, native)
}

func readSeccomp(oci []byte) (specs.LinuxSeccomp, error) {
	var profile specs.LinuxSeccomp
	if err := json.Unmarshal(oci, &profile); err != nil {
		return profile, fmt.Errorf("read seccomp profile: %w", err)
	}
	return profile, nil
}

func compileSeccomp(oci []byte, arch libseccomp.ScmpArch) ([]byte, error) {
	profile, err := readSeccomp(oci)
	if err != nil {
		return nil, err
	}
	refusalByArgument := func(s specs.LinuxSyscall) bool {
		return s.Action != specs.ActAllow && len(s.Args) > 0
	}
	general, byArgument := profile, profile
	general.Syscalls = slices.DeleteFunc(slices.Clone(profile.Syscalls), refusalByArgument)
	byArgument.Syscalls = slices.DeleteFunc(slices.Clone(profile.Syscalls), func(s specs.LinuxSyscall) bool { return !refusalByArgument(s) })
	byArgument.DefaultAction = specs.ActAllow
	var out []byte
	for _, p := range []specs.LinuxSeccomp{general, byArgument} {
		bpf, err := compile(p, arch)
		if err != nil {
			return nil, err
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(len(bpf)))
		out = append(out, bpf...)
	}
	return out, nil
}

func compile(p specs.LinuxSeccomp, arch libseccomp.ScmpArch) ([]byte, error) {
	exporting.Lock()
	defer exporting.Unlock()
	fallback, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	filter, err := libseccomp.NewFilter(fallback)
	if err != nil {
		return nil, fmt.Errorf("make seccomp filter: %w", err)
	}
	defer filter.Release()
	if err := useArch(filter, arch); err != nil {
		return nil, err
	}
	if err := filter.SetBadArchAction(libseccomp.ActKillProcess); err != nil {
		return nil, fmt.Errorf("kill foreign architectures: %w", err)
	}
	// A binary tree, not a list: each box's program has the kernel try all calls on it
	// (kernel/seccomp.c, seccomp_cache_prepare) before it starts.
	if err := filter.SetOptimize(2); err != nil {
		return nil, fmt.Errorf("optimise: %w", err)
	}
	for _, rule := range p.Syscalls {
		if err := addRule(filter, rule, fallback); err != nil {
			return nil, fmt.Errorf("rule for %v: %w", rule.Names, err)
		}
	}
	return export(filter)
}

// useArch makes a filter one for an architecture alone.
func useArch(filter *libseccomp.ScmpFilter, arch libseccomp.ScmpArch) error {
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return fmt.Errorf("find the architecture: %w", err)
	}
	if arch == native {
		return nil
	}
	if err := errors.Join(filter.AddArch(arch), filter.RemoveArch(native)); err != nil {
		return fmt.Errorf("make a filter for %s: %w", arch, err)
	}
	return nil
}

func addRule(filter *libseccomp.ScmpFilter, rule specs.LinuxSyscall, fallback libseccomp.ScmpAction) error {
	act, err := action(rule.Action, rule.ErrnoRet)
	if err != nil {
		return err
	}
	if act == fallback {
		return nil // libseccomp refuses what changes nothing
	}
	conditions, err := conditions(rule.Args)
	if err != nil {
		return err
	}
	for _, name := range rule.Names {
		call, err := libseccomp.GetSyscallFromName(name)
		if err != nil {
			continue // not known here: the default holds
		}
		if len(conditions) == 0 {
			err = filter.AddRule(call, act)
		} else {
			err = filter.AddRuleConditional(call, act, conditions)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func action(a specs.LinuxSeccompAction, errno *uint) (libseccomp.ScmpAction, error) {
	switch a {
	case specs.ActAllow:
		return libseccomp.ActAllow, nil
	case specs.ActErrno:
		code := int16(1) // EPERM, as OCI says
		if errno != nil {
			code = int16(*errno)
		}
		return libseccomp.ActErrno.SetReturnCode(code), nil
	case specs.ActKillProcess:
		return libseccomp.ActKillProcess, nil
	}
	return libseccomp.ActInvalid, fmt.Errorf("action %q is not supported: use SCMP_ACT_ALLOW, SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS", a)
}

func conditions(args []specs.LinuxSeccompArg) ([]libseccomp.ScmpCondition, error) {
	operators := map[specs.LinuxSeccompOperator]libseccomp.ScmpCompareOp{
		specs.OpEqualTo: libseccomp.CompareEqual, specs.OpNotEqual: libseccomp.CompareNotEqual,
		specs.OpGreaterThan: libseccomp.CompareGreater, specs.OpGreaterEqual: libseccomp.CompareGreaterEqual,
		specs.OpLessThan: libseccomp.CompareLess, specs.OpLessEqual: libseccomp.CompareLessOrEqual,
		specs.OpMaskedEqual: libseccomp.CompareMaskedEqual,
	}
	var list []libseccomp.ScmpCondition
	for _, a := range args {
		op, ok := operators[a.Op]
		if !ok {
			return nil, fmt.Errorf("operator %q is not known", a.Op)
		}
		values := []uint64{a.Value}
		if a.Op == specs.OpMaskedEqual {
			values = append(values, a.ValueTwo)
		}
		c, err := libseccomp.MakeCondition(a.Index, op, values...)
		if err != nil {
			return nil, fmt.Errorf("condition on argument %d: %w", a.Index, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// export reads the filter's program through a pipe. Programs are smaller than a
// pipe's buffer, but do not have to be.
func export(filter *libseccomp.ScmpFilter) ([]byte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("export seccomp filter: %w", err)
	}
	defer r.Close()
	exported := make(chan error, 1)
	go func() { exported <- errors.Join(filter.ExportBPF(w), w.Close()) }()
	bpf, err := io.ReadAll(r)
	if err := errors.Join(<-exported, err); err != nil {
		return nil, fmt.Errorf("export seccomp filter: %w", err)
	}
	return bpf, nil
}

// splitFilters gives the lengths, in instructions, and the instructions of what
// CompileSeccomp made.
func splitFilters(compiled []byte) (lengths [filters]int, instructions []byte, err error) {
	for i := range lengths {
		if len(compiled) < 4 {
			return lengths, nil, errors.New("the seccomp filters are cut off: use what CompileSeccomp gives")
		}
		n := int(binary.LittleEndian.Uint32(compiled))
		compiled = compiled[4:]
		if n > len(compiled) || n%instructionSize != 0 {
			return lengths, nil, errors.New("the seccomp filters are cut off: use what CompileSeccomp gives")
		}
		lengths[i] = n / instructionSize
		instructions = append(instructions, compiled[:n]...)
		compiled = compiled[n:]
	}
	if len(instructions)/instructionSize > maxFilter {
		return lengths, nil, fmt.Errorf("the seccomp filters have %d instructions: at most %d are possible", len(instructions)/instructionSize, maxFilter)
	}
	return lengths, instructions, nil
}

// Description says what a seccomp profile does to a program's calls.
type Description struct {
	Allowed    []string                 // by name, sorted; conditions may refuse some of them
	Ignored    []string                 // answered as if done, sorted
	Refused    map[string]syscall.Errno // with what
	Conditions []string                 // one a line: what arguments decide
	Otherwise  syscall.Errno            // what all other calls get
}

// DescribeSeccomp says what a profile in OCI's JSON does on this machine.
func DescribeSeccomp(oci []byte) (Description, error) {
	profile, err := readSeccomp(oci)
	if err != nil {
		return Description{}, err
	}
	errno := func(code *uint) syscall.Errno {
		if code == nil {
			return syscall.EPERM
		}
		return syscall.Errno(*code)
	}
	d := Description{Refused: make(map[string]syscall.Errno), Otherwise: errno(profile.DefaultErrnoRet)}
	for _, rule := range profile.Syscalls {
		for _, name := range rule.Names {
			if _, err := libseccomp.GetSyscallFromName(name); err != nil {
				continue
			}
			switch {
			case len(rule.Args) > 0:
				d.Conditions = append(d.Conditions, describeRule(name, rule))
			case rule.Action == specs.ActAllow:
				d.Allowed = append(d.Allowed, name)
			case errno(rule.ErrnoRet) == 0:
				d.Ignored = append(d.Ignored, name)
			default:
				d.Refused[name] = errno(rule.ErrnoRet)
			}
		}
	}
	slices.Sort(d.Allowed)
	slices.Sort(d.Ignored)
	return d, nil
}

func describeRule(name string, rule specs.LinuxSyscall) string {
	does := "is allowed"
	if rule.Action != specs.ActAllow {
		does = "is refused"
	}
	var when []string
	for _, a := range rule.Args {
		switch a.Op {
		case specs.OpMaskedEqual:
			when = append(when, fmt.Sprintf("argument %d & %#x is %#x", a.Index, a.Value, a.ValueTwo))
		case specs.OpEqualTo:
			when = append(when, fmt.Sprintf("argument %d is %#x", a.Index, a.Value))
		case specs.OpGreaterThan:
			when = append(when, fmt.Sprintf("argument %d is above %#x", a.Index, a.Value))
		default:
			when = append(when, fmt.Sprintf("argument %d %s %#x", a.Index, a.Op, a.Value))
		}
	}
	return fmt.Sprintf("%s %s where %s", name, does, strings.Join(when, " and "))
}
