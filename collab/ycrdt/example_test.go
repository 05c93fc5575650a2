package ycrdt_test

import (
	"encoding/json"
	"fmt"
	"slices"

	"corun/collab/ycrdt"
)

// A server keeps a document: it takes in what clients send, and gives those who
// join later all that there is.
func Example() {
	server, client := ycrdt.New(ycrdt.Options{}), ycrdt.New(ycrdt.Options{})

	update, err := client.Transact(func(tx *ycrdt.Txn) error {
		return tx.Text("notes").Insert(0, "hello")
	})
	if err != nil {
		panic(err)
	}
	if err := server.ApplyUpdate(update); err != nil {
		panic(err)
	}

	late := ycrdt.New(ycrdt.Options{})
	missing, err := server.EncodeStateAsUpdate(late.StateVector())
	if err != nil {
		panic(err)
	}
	if err := late.ApplyUpdate(missing); err != nil {
		panic(err)
	}
	fmt.Println(late.Text("notes"))
	// Output: hello
}

// Text has formats, as in an editor for rich text.
func ExampleShared_Delta() {
	doc := ycrdt.New(ycrdt.Options{})
	_, err := doc.Transact(func(tx *ycrdt.Txn) error {
		text := tx.Text("notes")
		if err := text.Insert(0, "plain and bold"); err != nil {
			return err
		}
		return text.Format(10, 4, ycrdt.Object{{Key: "bold", Value: true}})
	})
	if err != nil {
		panic(err)
	}
	for _, insert := range doc.Root("notes").Delta() {
		fmt.Printf("%q %v\n", insert.Value, insert.Attributes)
	}
	// Output:
	// "plain and " []
	// "bold" [{bold true}]
}

// Maps and arrays hold values, and other types.
func ExampleTxn_MapOf() {
	doc := ycrdt.New(ycrdt.Options{})
	_, err := doc.Transact(func(tx *ycrdt.Txn) error {
		if err := tx.Array("tasks").Insert(0, ycrdt.KindMap); err != nil {
			return err
		}
		task, err := tx.MapOf(doc.Array("tasks")[0].(ycrdt.Shared))
		if err != nil {
			return err
		}
		return task.Set("title", "write it down")
	})
	if err != nil {
		panic(err)
	}
	b, err := json.Marshal(doc.Root("tasks"))
	if err != nil {
		panic(err)
	}
	fmt.Println(string(b))
	// Output: [{"title":"write it down"}]
}

// Replacing a text makes the edits that lead from the old to the new one, so that
// cursors and comments stay where they are.
func ExampleText_Replace() {
	doc := ycrdt.New(ycrdt.Options{})
	edit := func(f func(ycrdt.Text) error) {
		if _, err := doc.Transact(func(tx *ycrdt.Txn) error { return f(tx.Text("main.py")) }); err != nil {
			panic(err)
		}
	}
	edit(func(t ycrdt.Text) error { return t.Insert(0, "x=1\nprint(x)\n") })
	comment, err := doc.Root("main.py").Position(4, 0) // before print
	if err != nil {
		panic(err)
	}
	edit(func(t ycrdt.Text) error { return t.Replace("x = 1\nprint(x)\n") })
	_, index, _ := doc.Resolve(comment)
	fmt.Println(doc.Text("main.py")[index:])
	// Output: print(x)
}

// Updates can be put together without a document.
func ExampleMergeUpdates() {
	doc := ycrdt.New(ycrdt.Options{ClientID: 1})
	var updates [][]byte
	for _, word := range []string{"one ", "two ", "three"} {
		update, err := doc.Transact(func(tx *ycrdt.Txn) error {
			return tx.Text("t").Insert(doc.Root("t").Len(), word)
		})
		if err != nil {
			panic(err)
		}
		updates = append(updates, update)
	}
	merged, err := ycrdt.MergeUpdates(updates...)
	if err != nil {
		panic(err)
	}
	meta, err := ycrdt.ParseUpdateMeta(merged)
	if err != nil {
		panic(err)
	}
	fmt.Println(meta.From[1], meta.To[1])
	// Output: 0 13
}

// A document that keeps what was deleted can be read as it was.
func ExampleDoc_At() {
	doc := ycrdt.New(ycrdt.Options{DisableGC: true})
	edit := func(f func(ycrdt.Text) error) {
		if _, err := doc.Transact(func(tx *ycrdt.Txn) error { return f(tx.Text("t")) }); err != nil {
			panic(err)
		}
	}
	edit(func(t ycrdt.Text) error { return t.Insert(0, "first draft") })
	before := doc.Snapshot()
	edit(func(t ycrdt.Text) error { return t.Replace("final") })
	then, err := doc.At(before)
	if err != nil {
		panic(err)
	}
	fmt.Println(doc.Text("t"), "<", then.Text("t"))
	// Output: final < first draft
}

// Any document can be read as it was from the log of its updates.
func ExampleReplay() {
	doc := ycrdt.New(ycrdt.Options{})
	var log [][]byte
	var then []byte
	for i := range 4 {
		update, err := doc.Transact(func(tx *ycrdt.Txn) error { return tx.Text("t").Insert(i, fmt.Sprint(i)) })
		if err != nil {
			panic(err)
		}
		log = append(log, update)
		if i == 1 {
			then = doc.StateVector()
		}
	}
	old, err := ycrdt.Replay(slices.Values(log), then)
	if err != nil {
		panic(err)
	}
	fmt.Println(old.Text("t"), doc.Text("t"))
	// Output: 01 0123
}
