#!/bin/bash
# The model of the queue, what must come about: everybody gets the lock, and in their order.
model=queue.pml
optimize=-O1
. "$(dirname "$0")/lib.sh"

configuration together "three begin at the same moment" -DCALM -DATTEMPTS=3 -DTOGETHER -DFAULTS=0 -DTOP=14
probe together PASSED_ON "a vote is yielded to who is older"
probe together YIELDED "a vote is yielded to nobody"
probe together GRANTED "a lock is claimed on grants alone"

configuration turn "two come while a third has the lock, and a holder may die" -DCALM -DATTEMPTS=3 -DHELD -DIN_TURN -DFAULTS=1 -DTOP=14
probe turn HEIR "somebody gets the lock after one has died"
probe turn BARRED "who waits longer goes first"

configuration fault "the same, and one of anything goes wrong" -DCALM -DATTEMPTS=3 -DHELD -DFAULTS=1 -DTOP=14
probe fault HEIR "somebody gets the lock after one has died"

configuration faults "two come, a memory is lost, and two things go wrong" -DCALM -DATTEMPTS=2 -DFAULTS=2 -DLOSSES=1 -DTOP=14
probe faults FORGOTTEN "a master forgets"

configuration starved "readers, and a writer between them" -DCALM -DATTEMPTS=3 -DHELD -DIN_TURN -DSHARED=5 -DFAULTS=1 -DTOP=14
configuration readers "a writer, then a reader; another reads" -DCALM -DATTEMPTS=3 -DHELD -DIN_TURN -DSHARED=6 -DFAULTS=1 -DTOP=14
probe readers RUN "a key is handed to a reader beside another"
end
