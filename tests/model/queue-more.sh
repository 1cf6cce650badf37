#!/bin/bash
# The model of the queue, what must never happen: with lost memories, with readers, and with one that never waits.
model=queue.pml
. "$(dirname "$0")/lib.sh"

configuration lost "a memory is lost while two wait, the queue comes back or not" \
	-DATTEMPTS=3 -DHELD -DPROPOSALS=1 -DTOP=3 -DFAULTS=1 -DYIELDS=0 -DLOSSES=1
probe lost FORGOTTEN "a master forgets"
probe lost GRANTED "a lock is claimed on grants alone"

configuration nonblocking "the second of three never queues" -DATTEMPTS=3 -DHELD -DNB=2 -DPROPOSALS=1 -DTOP=3 -DFAULTS=2
probe nonblocking BARRED "who waits longer goes first"

configuration run "a writer waits before a reader, another reads" -DATTEMPTS=3 -DHELD -DSHARED=6 -DPROPOSALS=1 -DTOP=3 -DFAULTS=1
probe run READERS "two readers at once"
probe run RUN "a key is handed to a reader beside another"
end
