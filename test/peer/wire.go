package main

import (
	"encoding/binary"
	"log"
	"math"
	"slices"

	"corun/collab/ycrdt"
)

// reader takes a batch apart. The other end is ours, so what does not fit is a
// mistake in these tests, and the slice that is out of range says so.
type reader struct {
	buf []byte
	pos int
}

func (r *reader) left() int { return len(r.buf) - r.pos }

func (r *reader) next(n int) []byte {
	r.pos += n
	return r.buf[r.pos-n : r.pos : r.pos]
}

func (r *reader) u8() byte    { return r.next(1)[0] }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.next(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.next(8)) }
func (r *reader) bytes() []byte {
	return r.next(int(r.u32()))
}

func (r *reader) optional() []byte {
	if r.u8() == 0 {
		return nil
	}
	return r.bytes()
}

func (r *reader) str() string { return string(r.bytes()) }

const (
	valueNull = iota
	valueUndefined
	valueTrue
	valueFalse
	valueNumber
	valueBigInt
	valueString
	valueBytes
	valueArray
	valueObject
	valueKind
)

// value reads a value as the engine takes it.
func (r *reader) value() any {
	switch tag := r.u8(); tag {
	case valueNull:
		return nil
	case valueUndefined:
		return ycrdt.Undefined{}
	case valueTrue:
		return true
	case valueFalse:
		return false
	case valueNumber:
		return math.Float64frombits(r.u64())
	case valueBigInt:
		return ycrdt.BigInt(r.u64())
	case valueString:
		return r.str()
	case valueBytes:
		return slices.Clone(r.bytes())
	case valueArray:
		return r.values()
	case valueObject:
		return r.object()
	case valueKind:
		return ycrdt.Kind(r.str())
	default:
		log.Fatalf("unknown value %d", tag)
		return nil
	}
}

func (r *reader) values() []any {
	list := make([]any, r.u32())
	for i := range list {
		list[i] = r.value()
	}
	return list
}

func (r *reader) object() ycrdt.Object {
	o := make(ycrdt.Object, r.u32())
	for i := range o {
		o[i].Key = r.str()
		o[i].Value = r.value()
	}
	return o
}
