package sandbox

import (
	"os"
	"testing"
	"time"
)

// Connections that nobody has accepted are no group's memory. A box that makes very many
// ends as one whose memory ran out; one with sockets that it has descriptors of does not.
func TestSockets(t *testing.T) {
	if os.Getenv("CORUN_RUNSC") != "" {
		t.Skip("they are in the memory of gVisor's kernel")
	}
	flood := python(t, spec(), time.Minute, `
import socket
kept = []
while True:
    kept.append(socket.create_server(('127.0.0.1', 0), backlog=4096))
    for _ in range(4000): socket.create_connection(kept[-1].getsockname()).close()
`)
	select {
	case <-flood.box.OOM():
	default:
		t.Errorf("the flood ended with %+v, %v and %q", flood.exit, flood.err, flood.stderr)
	}
	many := python(t, spec(), time.Minute, `
import os, socket, time
for _ in range(20):
    if os.fork() == 0:
        kept = []
        try:
            while True: kept.append(socket.socket())
        except OSError: pass
        time.sleep(1)
        os._exit(0)
try:
    while True: os.wait()
except ChildProcessError: print('done')
`)
	if many.err != nil || many.stdout != "done\n" {
		t.Errorf("with many sockets it ended with %+v, %v and printed %q, %q", many.exit, many.err, many.stdout, many.stderr)
	}
}
