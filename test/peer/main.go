// Command peer lets the document engine take part in the histories of
// test/fuzz: it reads batches of commands from its standard input and writes
// their answers to its standard output, until the input ends.
//
// A batch is a length of four bytes, little-endian, and that many bytes of
// commands; the answer to it is framed alike. Numbers of more than a byte are
// fixed and little-endian, byte strings have a length of four bytes before them.
// An answer is a status and a byte string: the result, or an error or a panic as
// text. test/fuzz/peer.mjs is the other end.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"runtime/debug"

	"corun/collab/ycrdt"
)

const (
	cmdNew = iota + 1
	cmdApply
	cmdEdit
	cmdEncode
	cmdStateVector
	cmdPending
	cmdTree
	cmdXML
	cmdCall
	cmdReload
	cmdRoots
)

const (
	statusOK = iota
	statusError
	statusPanic
	statusNothing // an edit that changed nothing
)

type peer struct {
	in  reader
	out []byte
	doc *ycrdt.Doc
	opt ycrdt.Options
}

func main() {
	log.SetFlags(0)
	in, out := bufio.NewReaderSize(os.Stdin, 1<<16), bufio.NewWriterSize(os.Stdout, 1<<16)
	var p peer
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			if err == io.EOF {
				return
			}
			log.Fatalf("read a batch: %v", err)
		}
		batch := make([]byte, binary.LittleEndian.Uint32(head[:]))
		if _, err := io.ReadFull(in, batch); err != nil {
			log.Fatalf("read a batch: %v", err)
		}
		p.in = reader{buf: batch}
		p.out = p.out[:0]
		for p.in.left() > 0 {
			p.command()
		}
		// An engine that held on to the bytes that it was given would show now.
		for i := range batch {
			batch[i] = 0xff
		}
		binary.LittleEndian.PutUint32(head[:], uint32(len(p.out)))
		out.Write(head[:])
		out.Write(p.out)
		if err := out.Flush(); err != nil {
			log.Fatalf("write answers: %v", err)
		}
	}
}

// command answers one command. Its arguments are read as a whole before the
// engine is called, so that a panic does not lose the place in the batch.
func (p *peer) command() {
	run := p.parse()
	status, result := guard(run)
	p.out = append(p.out, status)
	p.out = binary.LittleEndian.AppendUint32(p.out, uint32(len(result)))
	p.out = append(p.out, result...)
}

func guard(run func() ([]byte, error)) (status byte, result []byte) {
	defer func() {
		if r := recover(); r != nil {
			status, result = statusPanic, fmt.Appendf(nil, "%v\n%s", r, debug.Stack())
		}
	}()
	result, err := run()
	switch {
	case err != nil:
		return statusError, []byte(err.Error())
	case result == nil:
		return statusNothing, nil
	}
	return statusOK, result
}

func (p *peer) parse() func() ([]byte, error) {
	switch cmd := p.in.u8(); cmd {
	case cmdNew:
		opt := ycrdt.Options{ClientID: p.in.u64(), DisableGC: p.in.u8() == 0}
		return func() ([]byte, error) {
			p.opt, p.doc = opt, ycrdt.New(opt)
			return []byte{}, nil
		}
	case cmdApply:
		version, update := p.in.u8(), p.in.bytes()
		return func() ([]byte, error) { return []byte{}, apply(p.doc, version, update) }
	case cmdEdit:
		e := p.in.edit()
		return func() ([]byte, error) { return e.run(p.doc) }
	case cmdEncode:
		version, sv := p.in.u8(), p.in.optional()
		return func() ([]byte, error) { return encode(p.doc, version, sv) }
	case cmdStateVector:
		return func() ([]byte, error) { return p.doc.StateVector(), nil }
	case cmdPending:
		return func() ([]byte, error) {
			structs, deletes := p.doc.Pending()
			return []byte{flag(structs), flag(deletes)}, nil
		}
	case cmdTree:
		return func() ([]byte, error) { return treeOf(p.doc), nil }
	case cmdXML:
		return func() ([]byte, error) { return []byte(p.doc.Root("xml").String()), nil }
	case cmdCall:
		name, args := string(p.in.bytes()), make([][]byte, p.in.u32())
		for i := range args {
			args[i] = p.in.bytes()
		}
		return func() ([]byte, error) { return call(name, args) }
	case cmdReload:
		version, clientID := p.in.u8(), p.in.u64()
		return func() ([]byte, error) { return []byte{}, p.reload(version, clientID) }
	case cmdRoots:
		return func() ([]byte, error) { return appendJSONStrings(nil, p.doc.Roots()), nil }
	default:
		log.Fatalf("unknown command %d", cmd)
		return nil
	}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func apply(doc *ycrdt.Doc, version byte, update []byte) error {
	if version == 2 {
		return doc.ApplyUpdateV2(update)
	}
	return doc.ApplyUpdate(update)
}

func encode(doc *ycrdt.Doc, version byte, sv []byte) ([]byte, error) {
	if version == 2 {
		return doc.EncodeStateAsUpdateV2(sv)
	}
	return doc.EncodeStateAsUpdate(sv)
}

// reload goes on with what a restart would load, as another client: the document
// would not go on as one whose edits it is sent.
func (p *peer) reload(version byte, clientID uint64) error {
	all, err := encode(p.doc, version, nil)
	if err != nil {
		return err
	}
	p.opt.ClientID = clientID
	p.doc = ycrdt.New(p.opt)
	return apply(p.doc, version, all)
}

// call runs a function that needs no document, under its name in Yjs.
func call(name string, args [][]byte) ([]byte, error) {
	switch name {
	case "mergeUpdates":
		return ycrdt.MergeUpdates(args...)
	case "mergeUpdatesV2":
		return ycrdt.MergeUpdatesV2(args...)
	case "diffUpdate":
		return ycrdt.DiffUpdate(args[0], args[1])
	case "diffUpdateV2":
		return ycrdt.DiffUpdateV2(args[0], args[1])
	case "encodeStateVectorFromUpdate":
		return ycrdt.StateVectorFromUpdate(args[0])
	case "encodeStateVectorFromUpdateV2":
		return ycrdt.StateVectorFromUpdateV2(args[0])
	case "convertUpdateFormatV1ToV2":
		return ycrdt.ConvertUpdateV1ToV2(args[0])
	case "convertUpdateFormatV2ToV1":
		return ycrdt.ConvertUpdateV2ToV1(args[0])
	case "parseUpdateMeta":
		return meta(ycrdt.ParseUpdateMeta(args[0]))
	case "parseUpdateMetaV2":
		return meta(ycrdt.ParseUpdateMetaV2(args[0]))
	}
	log.Fatalf("unknown function %q", name)
	return nil, nil
}
