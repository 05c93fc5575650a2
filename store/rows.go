package store

import (
	"encoding/binary"
	"errors"
	"time"
)

// row is a row of the table updates: one update, or several of a room that were stored in
// one transaction, as migration 00003 has them.
type row struct {
	room, author string
	seq, n, at   int64 // seq is of the last, at of the first
	data         []byte
}

// rowsOf gathers the updates of a transaction into rows, one for each room: to insert a row
// costs more than all else that is done for an update.
type rowsOf struct {
	list []row
	at   map[string]int // where in list a room's is
}

// maxRowBytes is from where on a room gets another row.
const maxRowBytes = 64 << 10

func (r *rowsOf) add(q *queued) {
	u := &q.update
	i, ok := r.at[u.Room]
	// One that does not follow the last, as those between were refused, begins a row: the
	// numbers of a row's updates are not in it.
	if !ok || u.Seq != r.list[i].seq+1 || len(r.list[i].data)+len(u.Data) > maxRowBytes {
		r.at[u.Room] = len(r.list)
		r.list = append(r.list, row{room: u.Room, author: u.Author, seq: u.Seq, n: 1, at: q.at, data: u.Data})
		return
	}
	b := &r.list[i]
	if b.n == 1 {
		b.data = appendUpdate(make([]byte, 0, 4*(len(b.data)+len(u.Data))+64), 0, b.author, b.data)
		b.author = ""
	}
	b.data = appendUpdate(b.data, max(q.at-b.at, 0), u.Author, u.Data)
	b.seq = u.Seq
	b.n++
}

func (r *rowsOf) clear() {
	r.list = r.list[:0]
	clear(r.at)
}

func appendUpdate(b []byte, after int64, author string, data []byte) []byte {
	b = binary.AppendUvarint(b, uint64(after))
	b = append(binary.AppendUvarint(b, uint64(len(author))), author...)
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// Stored is an update as it was stored.
type Stored struct {
	Seq    int64
	At     time.Time
	Author string
	Data   []byte
}

var errBadRow = errors.New("stored updates are damaged")

// updates gives what is in the row. Whatever is in it, it is read or errBadRow.
func (r *row) updates() ([]Stored, error) {
	if r.n == 1 {
		return []Stored{{r.seq, fromMicros(r.at), r.author, r.data}}, nil
	}
	if r.n < 1 || r.n > r.seq || r.n > int64(len(r.data)) {
		return nil, errBadRow
	}
	all := make([]Stored, 0, min(r.n, maxBatch))
	rest, bad := r.data, false
	number := func() uint64 {
		v, size := binary.Uvarint(rest)
		if bad = bad || size <= 0; bad {
			return 0
		}
		rest = rest[size:]
		return v
	}
	field := func() []byte {
		n := number()
		if bad = bad || n > uint64(len(rest)); bad {
			return nil
		}
		f := rest[:n:n]
		rest = rest[n:]
		return f
	}
	for i := range r.n {
		after := number()
		author, data := string(field()), field()
		if bad || after > maxRowSpan {
			return nil, errBadRow
		}
		all = append(all, Stored{r.seq - r.n + 1 + i, fromMicros(r.at + int64(after)), author, data})
	}
	if len(rest) > 0 {
		return nil, errBadRow
	}
	return all, nil
}

// maxRowSpan is more microseconds than there can be between updates of one transaction.
const maxRowSpan = 1 << 50
